"""The use cases: the only place where a write starts. Built once, by create_app."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from config import Config
    from persistence.db import Database
    from persistence.kv import Kv
    from services.access_tokens import AccessTokens
    from services.admin_queries import AdminQueries
    from services.api_keys import ApiKeys
    from services.credentials import Credentials
    from services.currencies import Currencies
    from services.disputes import Disputes
    from services.emails import Emails
    from services.events import Events
    from services.health import Health
    from services.holds import Holds
    from services.idempotency import Idempotency
    from services.key_cancellation import KeyCancellation
    from services.ledger import Ledger
    from services.ledger_accounts import LedgerAccounts
    from services.ledger_exports import LedgerExports
    from services.ledger_reports import LedgerReports
    from services.password_changes import PasswordChanges
    from services.passwords import Passwords
    from services.payment_exports import PaymentExports
    from services.payment_queries import PaymentQueries
    from services.payments import Payments
    from services.posting_batches import PostingBatches
    from services.posting_queries import PostingQueries
    from services.postings import Postings
    from services.proofs import Proofs
    from services.rate_limits import RateLimits
    from services.refunds import Refunds
    from services.sessions import Sessions
    from services.settings import Settings
    from services.sign_in import SignIn
    from services.signing_keys import SigningKeys
    from services.tenants import Tenants
    from services.throttle import Throttle
    from services.users import Users
    from services.webhooks import Webhooks


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What `create_app` has built, for views and commands."""

    config: Config
    db: Database
    kv: Kv
    access_tokens: AccessTokens
    admin_queries: AdminQueries
    api_keys: ApiKeys
    credentials: Credentials
    currencies: Currencies
    emails: Emails
    events: Events
    disputes: Disputes
    health: Health
    holds: Holds
    idempotency: Idempotency
    key_cancellation: KeyCancellation
    ledger: Ledger
    ledger_exports: LedgerExports
    ledger_reports: LedgerReports
    password_changes: PasswordChanges
    passwords: Passwords
    ledger_accounts: LedgerAccounts
    payment_exports: PaymentExports
    payment_queries: PaymentQueries
    payments: Payments
    proofs: Proofs
    sessions: Sessions
    sign_in: SignIn
    signing_keys: SigningKeys
    posting_batches: PostingBatches
    posting_queries: PostingQueries
    postings: Postings
    refunds: Refunds
    rate_limits: RateLimits
    settings: Settings
    tenants: Tenants
    throttle: Throttle
    users: Users
    webhooks: Webhooks

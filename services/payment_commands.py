"""How a command on a payment runs: under its key, and again once its accounts are open.

Payments, refunds and disputes say what is sent and why it may be refused; the rest is here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from observability import ledger_postings_total
from repos import ledger as accounts
from repos import payments
from services.payment_postings import AccountsMissing

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from errors import AppError
    from persistence.db import Conn, Database
    from repos.idempotency import DoneRow
    from repos.payments import CommandFacts
    from services.actors import Actor
    from services.idempotency import Answer, Claim, Idempotency

F = TypeVar("F")

# House accounts take part in every posting; so many writers do not queue for one row.
HOUSE_STRIPES = 16
# Nobody but this client knows a key that the server made; it is kept for a day (K3).
GENERATED_KEY_TTL_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentSettings:
    """Lives of things, in seconds, and whether payments post to the ledger."""

    ledger: bool
    key_ttl_s: int
    authorization_ttl_s: int
    duplicate_window_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Who asks, under which key, if the payment is still at `if_match` (0: whatever it is).

    `fault` is what is wrong with the body: raised once the key is known to be new (K1).
    """

    actor: Actor
    claim: Claim
    if_match: int = 0
    fault: AppError | None = None

    @property
    def owner_id(self) -> str | None:
        """Whose payments the actor reaches; None: the tenant's."""
        return None if self.actor.owner_id is None else str(self.actor.owner_id)


class PaymentCommands:
    """Runs the commands of payments, refunds and disputes."""

    def __init__(
        self,
        db: Database,
        idempotency: Idempotency,
        settings: PaymentSettings,
        *,
        new_id: Callable[[], UUID],
        stripe: Callable[[], int],
    ) -> None:
        """`new_id` makes UUIDs of version 7; `stripe` tells which row of a hot account to use."""
        self._db = db
        self._stripe = stripe
        self.idempotency = idempotency
        self.settings = settings
        self.new_id = new_id

    def change(
        self,
        command: Command,
        payment_id: UUID,
        *,
        send: Callable[[Conn], DoneRow | None],
        refuse: Callable[[CommandFacts], AppError | None],
    ) -> Answer:
        """Run a command that posts nothing. Raises what `refuse` returns."""
        return self.idempotency.run(
            command.claim,
            command.fault,
            send=send,
            explain=partial(self.facts, command, payment_id),
            refuse=refuse,
            status=200,
        )

    def post(
        self,
        command: Command,
        *,
        send: Callable[[Conn, dict[str, Any]], DoneRow | None],
        explain: Callable[[Conn, int], F],
        refuse: Callable[[F], AppError | None],
        status: int = 200,
    ) -> Answer:
        """Run a command that posts to the ledger.

        `send` gets the parameters of the posting, `explain` the stripe. Accounts that are missing
        are opened, and the command is sent again (P33).
        """
        stripe = self._stripe()
        posting = {
            "transaction_id": self.new_id(),
            "ledger": self.settings.ledger,
            "stripe": stripe,
        }
        run = partial(
            self.idempotency.run,
            command.claim,
            command.fault,
            send=lambda conn: send(conn, posting),
            explain=lambda conn: explain(conn, stripe),
            refuse=refuse,
            status=status,
        )
        try:
            answer = run()
        except AccountsMissing as missing:
            open_accounts(self._db, command.claim.tenant_id, missing)
            answer = run()
        if self.settings.ledger and not answer.replayed:
            ledger_postings_total.labels(_kind(command.claim.operation)).inc()
        return answer

    def facts(
        self,
        command: Command,
        payment_id: UUID,
        conn: Conn,
        stripe: int = 0,
        *,
        kind: str = "none",
        reference: str | None = None,
    ) -> CommandFacts:
        """Read why a command on a payment gave no row; `kind` says whose `reference` it is."""
        return payments.explain(
            conn,
            tenant_id=command.claim.tenant_id,
            payment_id=payment_id,
            owner_id=command.owner_id,
            kind=kind,
            reference=reference,
            ledger=self.settings.ledger,
            stripe=stripe,
        )

    def shared(self, command: Command) -> dict[str, Any]:
        """Return the parameters that every command's statement has."""
        claim = command.claim
        ttl_s = GENERATED_KEY_TTL_S if claim.generated else self.settings.key_ttl_s
        return {
            "tenant_id": claim.tenant_id,
            "scope": claim.scope,
            "key": claim.key,
            "operation": claim.operation,
            "fingerprint": claim.fingerprint,
            "fingerprint_version": claim.fingerprint_version,
            "ttl_s": ttl_s,
            "actor": command.actor.subject,
            "request_id": claim.request_id,
        }


def open_accounts(db: Database, tenant_id: str, missing: AccountsMissing) -> None:
    """Open the accounts that a posting lacked; those that somebody else opened stay as they are."""
    with db.write() as conn:
        accounts.open_accounts(
            conn,
            tenant_id=tenant_id,
            currency=missing.currency,
            user_id=missing.user_id,
            codes=missing.codes,
            house_stripes=HOUSE_STRIPES,
        )


def _kind(operation: str) -> str:
    """Return the last word of a route: capture, refunds; never an id."""
    word = operation.rpartition("/")[2]
    return word if word.isalpha() else "other"

"""What runs when: the jobs of this release."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from observability import log
from repos import jobs as rows
from services.holds import expire_holds
from services.jobs import Finding, Job, tenants_of
from services.ledger_writes import LedgerWrites
from services.payment_jobs import PaymentJobSettings, catch_up, expire_payments
from services.replay import Replay, ReplayAsk, Trust
from services.webhook_delivery import fan_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from persistence.db import Database
    from services.auth_purge import AuthPurge
    from services.jobs import Run
    from services.mail_outbox import MailOutbox
    from services.replay import RunBy
    from services.signing_keys import SigningKeys

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
SIGNING_KEY_OLD_S = 90 * 86_400


# A package that brings jobs of its own adds itself by name: it is given all jobs, and returns them.
EXTENSIONS: dict[str, Callable[[Database, tuple[Job, ...]], tuple[Job, ...]]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthJobs:
    """What mail, log-ins and keys need of their own."""

    outbox: MailOutbox
    purge: AuthPurge
    signing_keys: SigningKeys


def catalogue(
    db: Database,
    look: Callable[[], Iterator[tuple[str, int]]],
    by: RunBy,
    seal: Callable[[Run], Iterator[int]],
    deliver: Callable[[Run], Iterator[int]],
    auth: AuthJobs,
    payments: PaymentJobSettings = PaymentJobSettings(),  # noqa: B008  # Frozen.
    trust: Trust = Trust(),  # noqa: B008  # As above.
) -> tuple[Job, ...]:
    """Return all jobs.

    `look()` yields each invariant with the number of rows that break it; `by` names this process
    in the audit rows of a verification; `seal` is the sealing with this process' keys, `deliver`
    the work of its webhook threads, `trust` whose checkpoints the verification believes.
    """
    jobs: tuple[Job, ...] = (
        Job(name="expire-holds", every_ms=5_000, work=partial(expire_holds, db, LedgerWrites(db))),
        Job(
            name="expire-payments", every_ms=MINUTE_MS, work=partial(expire_payments, db, payments)
        ),
        Job(name="ledger-catch-up", every_ms=MINUTE_MS, work=partial(catch_up, db, payments)),
        Job(name="idempotency-cleanup", every_ms=HOUR_MS, work=partial(clean_up_keys, db)),
        Job(name="ledger-seal", every_ms=SECOND_MS, work=seal),
        Job(name="fan-out-webhooks", every_ms=SECOND_MS, work=partial(fan_out, db)),
        Job(name="deliver-webhooks", every_ms=SECOND_MS, work=deliver),
        Job(name="auth-purge", every_ms=HOUR_MS, work=auth.purge.work),
        Job(name="send-mail", every_ms=SECOND_MS, work=auth.outbox.send_due),
        Job(
            name="check-invariants",
            every_ms=HOUR_MS,
            work=lambda _: check_invariants(look()),
            is_long=True,
        ),
        Job(
            name="verify-ledger",
            every_ms=DAY_MS,  # From the first entry on, so not each hour.
            work=partial(verify_ledger, Replay(db, trust=trust), by, db),
            is_long=True,
        ),
        Job(
            name="rotate-signing-keys",
            every_ms=DAY_MS,
            work=partial(rotate_signing_keys, db, auth.signing_keys),
        ),
    )
    for extend in EXTENSIONS.values():
        jobs = extend(db, jobs)
    return jobs


def clean_up_keys(db: Database, run: Run) -> Iterator[int]:
    """Delete expired idempotency keys, tenant by tenant, oldest first (K10)."""
    for tenant_id in tenants_of(db, run):
        if run.ask.dry_run:
            with db.read() as conn:
                yield rows.count_expired_keys(conn, tenant_id=tenant_id)
            continue
        deleted = batch = run.batch
        while deleted == batch:
            batch = run.batch
            with db.write() as conn:
                deleted = rows.delete_expired_keys(conn, tenant_id=tenant_id, batch=batch)
            yield deleted


def check_invariants(found: Iterator[tuple[str, int]]) -> Iterator[int]:
    """Ask every rule of sql/checks on live data; raises Finding if one is broken."""
    broken: list[str] = []
    for name, count in found:
        if count:
            broken.append(f"{name} ({count})")
            log.error("invariant.broken", check=name, rows=count)
        yield count
    if broken:
        raise Finding(", ".join(broken))


def verify_ledger(replay: Replay, by: RunBy, db: Database, run: Run) -> Iterator[int]:
    """Replay the books, a tenant a batch; raises Finding if one is not what its entries say."""
    wrong: list[str] = []
    for tenant_id in tenants_of(db, run):
        ask = ReplayAsk(tenant_id=tenant_id)
        (report,) = replay.run(ask, by, lambda _what, _done, _all: run.go_on()).tenants
        if report.mismatches:
            wrong.append(f"{tenant_id} {report.verdict} ({report.mismatches})")
            log.error("ledger.wrong", verdict=report.verdict, mismatches=report.mismatches)
        yield report.mismatches
    if wrong:
        raise Finding(", ".join(wrong))


def rotate_signing_keys(db: Database, keys: SigningKeys, run: Run) -> Iterator[int]:
    """Make the next key of each tenant whose newest one is 90 days old (A44)."""
    for tenant_id in tenants_of(db, run):
        if run.ask.dry_run:
            yield int(keys.is_older(tenant_id, SIGNING_KEY_OLD_S))
            continue
        subject = "job:rotate-signing-keys"
        yield int(keys.rotate_if_older(tenant_id, subject, SIGNING_KEY_OLD_S) is not None)

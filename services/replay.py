"""`flask replay-ledger`, reading only: whether every book is what its headers say (LR1, LR2).

It starts at the first row, never at a stored balance. Only its own audit rows are written.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from uuid_utils.compat import uuid7

from errors import AppError, NotFound, ValidationFailed
from repos import replay, tenants
from repos.replay import Picked
from services.ledger import utc_text
from services.replay_book import BookCheck
from services.replay_report import Report

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from persistence.db import Conn, Database
    from services.replay_book import Progress
    from services.replay_report import TenantReport

LEVELS = ("L0", "L1", "L2", "L3")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayAsk:
    """What to check. `account`: a code, or a prefix that ends with a colon; None is all.

    The sums of L0 are of all accounts, and the balances of L3 are stored for now only: L0 goes
    with no `account` or `currency`, L3 with no `as_of`. Without `levels`, all that go.
    """

    tenant_id: str | None = None
    levels: tuple[str, ...] = ()
    account: str | None = None
    currency: str | None = None
    as_of: datetime | None = None
    findings_max: int = 100

    @property
    def is_part(self) -> bool:
        """Whether some accounts are picked out."""
        return bool(self.account or self.currency)

    @property
    def possible(self) -> tuple[str, ...]:
        """The levels that go with the rest."""
        left_out = {"L0"} if self.is_part else set()
        left_out |= {"L3"} if self.as_of else set()
        return tuple(level for level in LEVELS if level not in left_out)

    def picked(self, tenant_id: str) -> Picked:
        """Return which accounts of a tenant these are, as a range of codes."""
        code = self.account or ""
        return Picked(
            tenant_id=tenant_id,
            everything=not self.is_part,
            code_from=code,
            # No character of a code sorts before "!" or between ":" and ";".
            code_to=f"{code[:-1]};" if code.endswith(":") else f"{code}!" if code else "~",
            currency=self.currency,
            as_of=utc_text(self.as_of) if self.as_of else "infinity",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunBy:
    """Who runs it, where and by which release, for the audit rows."""

    actor: str
    host: str
    app_version: str


class Replay:
    """Checks books against themselves, beside traffic: nobody waits for it."""

    def __init__(
        self,
        db: Database,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        new_id: Callable[[], UUID] = uuid7,
    ) -> None:
        """`clock` tells what is in the future."""
        self._db = db
        self._clock = clock
        self._new_id = new_id

    def run(
        self, ask: ReplayAsk, by: RunBy, progress: Progress = lambda _what, _done, _all: None
    ) -> Report:
        """Check the books of one tenant, or of all, one after another.

        Raises NotFound (no such tenant, no such account), ValidationFailed (an ask that makes no
        sense), and what the database raises: then nothing is known.
        """
        levels = self._levels(ask)
        run_id, unrecorded = self._new_id(), None
        reports: list[TenantReport] = []
        for tenant_id in self._tenants(ask):
            refused = self._begin(run_id, tenant_id, levels, ask, by)
            with self._db.snapshot() as conn:
                picked = ask.picked(tenant_id)
                report = BookCheck(conn, picked, levels, ask.findings_max, progress).run()
            unrecorded = unrecorded or refused or self._finish(run_id, report)
            reports.append(report)
        if ask.is_part and not any(report.accounts for report in reports):
            raise NotFound("There is no such account.")
        return Report(run_id=run_id, tenants=reports, unrecorded=unrecorded)

    def _levels(self, ask: ReplayAsk) -> tuple[str, ...]:
        if set(ask.levels) - set(ask.possible):
            raise ValidationFailed(
                "L0 is about all accounts of a currency, L3 about balances as they are now."
            )
        if ask.as_of and ask.as_of > self._clock():
            raise ValidationFailed("The book of the future is not written yet.")
        return tuple(level for level in LEVELS if level in (ask.levels or ask.possible))

    def _tenants(self, ask: ReplayAsk) -> list[str]:
        with self._db.read() as conn:
            named = [row.tenant_id for row in tenants.list_all(conn)]
        if ask.tenant_id is None:
            return named
        if ask.tenant_id not in named:
            raise NotFound("There is no such tenant.")
        return [ask.tenant_id]

    def _begin(
        self, run_id: UUID, tenant_id: str, levels: tuple[str, ...], ask: ReplayAsk, by: RunBy
    ) -> str | None:
        return self._record(
            lambda conn: replay.begin_run(
                conn,
                tenant_id=tenant_id,
                run_id=run_id,
                levels=",".join(levels),
                filter_={"account": ask.account, "currency": ask.currency},
                as_of=utc_text(ask.as_of) if ask.as_of else "infinity",
                actor=by.actor,
                host=by.host,
                app_version=by.app_version,
            )
        )

    def _finish(self, run_id: UUID, report: TenantReport) -> str | None:
        return self._record(
            lambda conn: replay.finish_run(
                conn,
                tenant_id=report.tenant_id,
                run_id=run_id,
                accounts=report.accounts,
                transactions=report.transactions,
                entries=report.entries,
                mismatches=report.mismatches,
                verdict=report.verdict,
                exit_code=report.exit_code,
                findings=report.rows,
            )
        )

    def _record(self, write: Callable[[Conn], int]) -> str | None:
        """Write an audit row; a server that only reads keeps nobody from checking. Says why not."""
        try:
            with self._db.write() as conn:
                write(conn)
        except AppError as exc:
            return f"{exc.code}: {exc.detail}"
        return None

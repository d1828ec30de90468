"""`flask replay-ledger`: whether every book is what its headers say (LR1 to LR8).

It starts at the first row, or at a checkpoint that it verifies, never at a stored balance. Only its
own audit rows are written, unless a change is asked for.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from uuid_utils.compat import uuid7

from errors import AppError, NotFound, ValidationFailed
from repos import replay, seals, tenants
from repos.replay import Picked
from services.checkpoint_copies import Copies
from services.checkpoints import Checkpoint, SealKeys
from services.ledger import utc_text
from services.replay_book import BookCheck
from services.replay_changes import ReplayChanges
from services.replay_report import LevelReport, Report, TenantReport
from services.replay_tree import Signed
from services.seal_signing import LARGEST
from services.signed_notes import Note, NoteInvalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from persistence.db import Conn, Database
    from repos.replay import WatermarkRow
    from services.replay_book import Progress

LEVELS = ("L0", "L1", "L2", "L3", "L4", "L5")
# What a change has to know: with fewer findings than this, all of them.
CHANGE_FINDINGS_MAX = 100_000
# The status of every error that says: the database is away, or busy.
AWAY = 503


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayAsk:
    """What to check. `account`: a code, or a prefix that ends with a colon; None is all.

    L0, L4 and L5 are about a whole book, so they go with no `account` or `currency`; L3 to L5 are
    about what is stored now, so they go with no `as_of`. Without `levels`, all that go.
    `since_seal`: the size of a checkpoint, or `last`; what it covers is believed once it is
    verified. `checkpoints`: signed notes that were kept elsewhere. `change`: one of MODES, for
    which all of a book is checked.
    """

    tenant_id: str | None = None
    levels: tuple[str, ...] = ()
    account: str | None = None
    currency: str | None = None
    as_of: datetime | None = None
    since_seal: int | str | None = None
    findings_max: int = 100
    parallel: int = 1
    strict: bool = False
    checkpoints: tuple[str, ...] = ()
    change: str | None = None

    @property
    def is_part(self) -> bool:
        """Whether some accounts are picked out."""
        return bool(self.account or self.currency)

    @property
    def possible(self) -> tuple[str, ...]:
        """The levels that go with the rest."""
        left_out = {"L0", "L4", "L5"} if self.is_part else set()
        left_out |= {"L3", "L4", "L5"} if self.as_of else set()
        return tuple(level for level in LEVELS if level not in left_out)

    def picked(self, tenant_id: str, since: datetime | None = None) -> Picked:
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
            since=utc_text(since) if since else "-infinity",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunBy:
    """Who runs it, where and by which release, for the audit rows."""

    actor: str
    host: str
    app_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whose signatures count, and where published checkpoints are."""

    keys: SealKeys = field(default_factory=partial(SealKeys, origin=""))
    copies: Copies = field(default_factory=Copies)


class Replay:
    """Checks books against themselves, beside traffic: nobody waits for it."""

    def __init__(
        self,
        db: Database,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        new_id: Callable[[], UUID] = uuid7,
        trust: Trust = Trust(),
    ) -> None:
        """`clock` tells what is in the future."""
        self._db = db
        self._clock = clock
        self._new_id = new_id
        self._trust = trust

    def run(
        self, ask: ReplayAsk, by: RunBy, progress: Progress = lambda _what, _done, _all: None
    ) -> Report:
        """Check the books of one tenant, or of all, one after another, and change what is asked.

        Raises NotFound (no such tenant, account or checkpoint), ValidationFailed (an ask that makes
        no sense), OwnerNeeded; a book that the database would not show is `unfinished`.
        """
        levels = self._levels(ask)
        notes = _notes(ask.checkpoints)
        run_id, unrecorded = self._new_id(), None
        reports: list[TenantReport] = []
        named = self._tenants(ask)
        if set(notes) - set(named):
            raise ValidationFailed("A checkpoint is of the log of another tenant.")
        for tenant_id in named:
            refused = self._begin(run_id, tenant_id, levels, ask, by)
            report = self._report(
                run_id, tenant_id, levels, ask, notes.get(tenant_id, []), progress
            )
            unrecorded = unrecorded or refused or self._finish(run_id, report)
            reports.append(report)
        if ask.is_part and not any(report.accounts or report.error for report in reports):
            raise NotFound("There is no such account.")
        return Report(run_id=run_id, tenants=reports, unrecorded=unrecorded)

    def _levels(self, ask: ReplayAsk) -> tuple[str, ...]:
        if ask.change and (ask.levels or ask.is_part or ask.as_of or ask.since_seal):
            raise ValidationFailed("A change needs a check of whole books, from the first row on.")
        if set(ask.levels) - set(ask.possible):
            raise ValidationFailed(
                "L0, L4 and L5 are about whole books, L3 to L5 about what is stored now."
            )
        if ask.as_of and ask.as_of > self._clock():
            raise ValidationFailed("The book of the future is not written yet.")
        if ask.since_seal and (ask.is_part or ask.as_of):
            raise ValidationFailed("A checkpoint is verified with the whole book behind it.")
        wanted = ask.levels or ask.possible
        # What a checkpoint covers is believed only if the checkpoint is right.
        also = {"L4"} if ask.since_seal or ask.checkpoints else set()
        return tuple(level for level in LEVELS if level in {*wanted, *also})

    def _tenants(self, ask: ReplayAsk) -> list[str]:
        with self._db.read() as conn:
            named = [row.tenant_id for row in tenants.list_all(conn)]
        if ask.tenant_id is None:
            return named
        if ask.tenant_id not in named:
            raise NotFound("There is no such tenant.")
        return [ask.tenant_id]

    # --- One book -------------------------------------------------------------------------------

    def _report(
        self,
        run_id: UUID,
        tenant_id: str,
        levels: tuple[str, ...],
        ask: ReplayAsk,
        notes: list[str],
        progress: Progress,
    ) -> TenantReport:
        """Check a book and, if asked, change it and check it again."""
        report = self._checked(tenant_id, levels, ask, notes, progress)
        if ask.change is None or report.exit_code == 0:
            return report
        changes = ReplayChanges(self._db, run_id, report)
        try:
            changes.run(ask.change)
        except AppError as error:
            if error.status != AWAY:
                raise
            changes.refusal = f"{error.code}: {error.detail}"
        after = report
        if changes.made:
            after = self._checked(tenant_id, levels, ask, notes, progress)
        # What was found first stays in the list: it is what the changes were made for.
        after.findings = report.findings + changes.made
        after.changed = len(changes.made)
        after.refusal = changes.refusal
        return after

    def _checked(
        self,
        tenant_id: str,
        levels: tuple[str, ...],
        ask: ReplayAsk,
        notes: list[str],
        progress: Progress,
    ) -> TenantReport:
        try:
            with ExitStack() as stack:
                conn = stack.enter_context(self._db.snapshot())
                twins = [conn.twin() for _ in range(ask.parallel - 1)]
                conns = [conn, *(stack.enter_context(twin) for twin in twins)]
                return self._check(conns, tenant_id, levels, ask, notes, progress)
        except AppError as error:
            if error.status != AWAY:
                raise
            none = {name: LevelReport(level=name) for name in levels}
            said = f"{error.code}: {error.detail}"
            return TenantReport(tenant_id=tenant_id, levels=none, error=said)

    def _check(
        self,
        conns: list[Conn],
        tenant_id: str,
        levels: tuple[str, ...],
        ask: ReplayAsk,
        notes: list[str],
        progress: Progress,
    ) -> TenantReport:
        mark = replay.get_watermark(conns[0], tenant_id=tenant_id)
        through = mark.sealed_through if mark else None
        if ask.as_of and (through is None or ask.as_of > through):
            raise ValidationFailed(f"The book of {tenant_id} is final up to {through} only.")
        start, since = self._start(conns[0], tenant_id, ask)
        most = CHANGE_FINDINGS_MAX if ask.change else ask.findings_max
        book = BookCheck(conns, ask.picked(tenant_id, since), levels, most, progress)
        book.report.watermark = through
        if set(levels) & {"L0", "L1", "L2", "L3"}:
            book.run()
        if "L4" in levels:
            published = list(self._published(tenant_id, notes))
            book.check_tree(self._trust.keys, _size(mark), published, start)
        if "L5" in levels:
            book.check_payments(strict=ask.strict)
        return book.report

    def _start(self, conn: Conn, tenant_id: str, ask: ReplayAsk) -> tuple[int, datetime | None]:
        """Return the leaves that are believed, and up to which moment. Raises NotFound."""
        if ask.since_seal is None:
            return 0, None
        size = LARGEST if ask.since_seal == "last" else int(ask.since_seal)
        seal = seals.get_seal(conn, tenant_id=tenant_id, at_most=size)
        if seal is None or seal.tree_size != size != LARGEST:
            raise NotFound(f"The book of {tenant_id} has no such checkpoint.")
        return seal.tree_size, seal.sealed_through

    def _published(self, tenant_id: str, notes: list[str]) -> Iterator[Signed]:
        """Yield the checkpoints that were kept outside of the database."""
        for note in notes:
            yield Signed(size=_parsed(note).size, what="given checkpoint", note=note)
        try:
            copy = self._trust.copies.newest(tenant_id)
            if copy is not None:
                yield Signed(size=_parsed(copy).size, what="published checkpoint", note=copy)
        except (OSError, NoteInvalid):
            # Unreadable, it says nothing; the job `ledger-seal` tells of it.
            return

    # --- Audit ----------------------------------------------------------------------------------

    def _begin(
        self, run_id: UUID, tenant_id: str, levels: tuple[str, ...], ask: ReplayAsk, by: RunBy
    ) -> str | None:
        since = str(ask.since_seal) if isinstance(ask.since_seal, int) else None
        filter_ = {"account": ask.account, "currency": ask.currency}
        more = {"since_seal": "last"} if ask.since_seal == "last" else {}
        return self._record(
            lambda conn: replay.begin_run(
                conn,
                tenant_id=tenant_id,
                run_id=run_id,
                mode=ask.change or "check",
                levels=",".join(levels),
                filter_=filter_ | more,
                as_of=utc_text(ask.as_of) if ask.as_of else "infinity",
                since_seal=since,
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
                changed=report.changed,
                verdict=report.verdict,
                exit_code=report.exit_code,
                # Changes are noted already, with themselves.
                findings=report.rows[: len(report.findings) - report.changed],
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


def _size(mark: WatermarkRow | None) -> int:
    return mark.tree_size if mark else 0


def _parsed(note: str) -> Checkpoint:
    return Checkpoint.parse(Note.parse(note).text)


def _notes(texts: tuple[str, ...]) -> dict[str, list[str]]:
    """Return signed notes by the tenant whose log they name. Raises ValidationFailed."""
    found: dict[str, list[str]] = {}
    for text in texts:
        try:
            tenant_id = _parsed(text).origin.rpartition("/")[2]
        except NoteInvalid as fault:
            raise ValidationFailed(f"A checkpoint is unreadable: {fault}") from fault
        found.setdefault(tenant_id, []).append(text)
    return found

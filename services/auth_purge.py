"""What log-ins, links and mails leave behind, deleted when nobody needs it (`flask auth purge`)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from uuid_utils.compat import uuid7

from repos import audit, emails, mail_outbox, one_time_tokens, sessions, tenants, throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from persistence.db import Conn, Database
    from services.jobs import Run


class AuthPurge:
    """The job `auth-purge`: each batch is one statement, right when it runs twice at once."""

    def __init__(
        self, db: Database, unverified_days: int, new_id: Callable[[], UUID] = uuid7
    ) -> None:
        self._db = db
        self._unverified_days = unverified_days
        self._new_id = new_id

    def work(self, run: Run) -> Iterator[int]:
        """Delete what is old: users first, whose links tell that they never proved anything."""
        for tenant_id in self._tenants(run):
            if run.ask.dry_run:
                with self._db.read() as conn:
                    yield sessions.count_leftovers(conn, tenant_id=tenant_id)
                continue
            for delete in (
                self._erase_unverified,
                one_time_tokens.delete_old,
                sessions.delete_old,
                sessions.delete_old_tokens,
                mail_outbox.delete_old,
            ):
                yield from self._batches(run, partial(delete, tenant_id=tenant_id))
        if not run.ask.dry_run:
            yield from self._batches(run, partial(throttle.delete_old, tenant_id=run.ask.tenant_id))

    def _batches(self, run: Run, delete: Callable[..., int]) -> Iterator[int]:
        deleted = batch = run.batch
        while deleted == batch > 0:
            batch = run.batch
            with self._db.write() as conn:
                deleted = delete(conn, batch=batch)
            yield deleted

    def _erase_unverified(self, conn: Conn, *, tenant_id: str, batch: int) -> int:
        return emails.delete_unverified(
            conn,
            tenant_id=tenant_id,
            days=self._unverified_days,
            batch=batch,
            audit_ids=[self._new_id() for _ in range(batch)],
        )

    def _tenants(self, run: Run) -> list[str]:
        if run.ask.tenant_id:
            return [run.ask.tenant_id]
        with self._db.read() as conn:
            return [row.tenant_id for row in tenants.list_all(conn)]


def purge_audit(
    db: Database, tenant_id: str | None, days: int, batch: int, *, dry_run: bool
) -> int:
    """End audit rows older than `days`; how many. `db` is the schema owner's (A53)."""
    if dry_run:
        with db.read() as conn:
            return audit.count_old(conn, tenant_id=tenant_id, days=days)
    total, deleted = 0, batch
    while deleted == batch:
        with db.write() as conn:
            deleted = audit.delete_old(conn, tenant_id=tenant_id, days=days, batch=batch)
        total += deleted
    return total

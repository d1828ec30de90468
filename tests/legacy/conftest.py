"""A tenant on its way: our database, two stores in memory, and every part of the move over them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

from legacy.links import Link, Links
from legacy.mirror import Mirror
from legacy.phases import Ask, Moved, Phases
from legacy.rows import mirror_marks
from legacy.settings import LegacySettings
from persistence.db import Database, DbSettings
from persistence.migration_check import MigrationCheck
from services import job_catalogue
from tests.legacy.memory import MemoryStore, PlainCompare
from tests.legacy.sample_rows import captured, payment, soon, user
from tests.legacy.shops import shop_world

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS = {
    "users": frozenset(
        {"id", "email", "legacy_password_hash", "status", "created_at", "updated_at"}
    ),
    "payments": frozenset(
        {
            "id", "user_id", "reference", "amount_minor", "currency", "description", "metadata",
            "status", "end_reason", "authorized_minor", "captured_minor", "voided_minor",
            "refunded_minor", "disputed_minor", "charged_back_minor", "fee_minor",
            "fee_refunded_minor", "created_at", "updated_at",
        }
    ),
}  # fmt: skip

# Where every test of the move finds them.
__all__ = ["Move", "captured", "move", "payment", "shop_world", "soon", "user"]


@dataclass
class Move:
    """Everything that a test of the move takes hold of."""

    db: Database
    owner: Database
    links: Links
    link: dict[str, Link]
    store: dict[str, MemoryStore]
    mirror: Mirror
    phases: Phases
    attaching: Phases
    url: str

    def ask(self, domain: str = "users", **given: Any) -> Ask:
        """Who asks for a move: an operator of the tests, with a reason."""
        return Ask(tenant_id="default", domain=domain, by="cli:test", reason="test", **given)

    def attach(self, *domains: str) -> None:
        """Attach domains in phase 1."""
        for domain in domains or ("users",):
            self.attaching.attach(self.ask(domain))

    def force(self, domain: str, phase: int) -> None:
        """Put a domain into a phase past its gates."""
        self.sql(
            "UPDATE migration_state SET phase = %s, ledger_enabled = true WHERE domain = %s",
            phase,
            domain,
        )

    def step(self, domain: str = "users", **given: Any) -> Moved:
        """Advance with what tests have no time for waived."""
        waive = frozenset({"shadow", "soak"})
        return self.phases.advance(self.ask(domain, waive=waive, **given))

    def sql(self, statement: str, *params: Any) -> list[tuple[Any, ...]]:
        """Run a statement as the owner and return its rows, if it gives any."""
        with psycopg.connect(self.url, autocommit=True) as conn:
            cursor = conn.execute(statement.encode(), params or None)
            return cursor.fetchall() if cursor.description else []

    def copied(self, statement: str, *params: Any) -> None:
        """Write into new as the mirror does."""
        with psycopg.connect(self.url) as conn:
            conn.execute("SET LOCAL strongroom.mirror = 'on'")
            conn.execute(statement.encode(), params or None)

    def mark(self, domain: str, *keys: str) -> None:
        """Mark keys as dirty."""
        with self.db.write() as conn:
            mirror_marks.mark(
                conn, tenant_id="default", domain=domain, entity_ids=keys, origin="test"
            )

    def marks(self, domain: str = "users") -> list[str]:
        """Return the keys that are marked."""
        rows = self.sql("SELECT entity_id FROM mirror_marks WHERE domain = %s ORDER BY 1", domain)
        return [row[0] for row in rows]

    def copy_all(self) -> None:
        """Let the mirror copy all that is due; a round that a busy machine cut off goes on."""
        due = "SELECT count(*)::int FROM mirror_marks WHERE next_try_at <= clock_timestamp()"
        until = monotonic() + 120
        while self.sql(due) != [(0,)]:
            self.mirror.run_once()
            assert monotonic() < until

    def due_now(self) -> None:
        """Let every mark be tried again at once."""
        self.sql("UPDATE mirror_marks SET next_try_at = now() - interval '1 s'")

    def new_user(self, **given: Any) -> str:
        """Make a user in new, as a service does; return its id."""
        made = str(uuid4())
        row = {"email": f"{made}@example.org", **given}
        self.sql(
            "INSERT INTO users (tenant_id, id, email, email_norm) VALUES ('default', %s, %s, %s)",
            made, row["email"], row["email"],
        )  # fmt: skip
        return made

    def rejects(self, domain: str = "users") -> list[tuple[str, str]]:
        """Return the open rejects: id and code."""
        return self.sql(
            "SELECT entity_id, code FROM legacy_rejects WHERE domain = %s"
            " AND resolved_at IS NULL ORDER BY 1",
            domain,
        )

    def clean_digest(self, domain: str = "users") -> None:
        """Note a run that found nothing, begun just now."""
        self.sql(
            "INSERT INTO drift_runs (tenant_id, run_id, domain, level, phase, truth, status,"
            " trigger, run_by, started_at) SELECT 'default', gen_random_uuid(), domain, 3, phase,"
            " 'legacy', 'clean', 'test', 'test', clock_timestamp() FROM migration_state"
            " WHERE domain = %s",
            domain,
        )

    def backfilled(self, domain: str = "users") -> None:
        """Note that the backfill has come to its end."""
        self.sql(
            "INSERT INTO backfill_cursors (tenant_id, domain, finished_at)"
            " VALUES ('default', %s, now()) ON CONFLICT (tenant_id, domain)"
            " DO UPDATE SET finished_at = now()",
            domain,
        )

    def relink(self, domain: str, **changes: Any) -> None:
        """Link a domain in another way."""
        self.link[domain] = replace(self.link[domain], **changes)
        self.links.close()


# On a busy machine nothing here gives up.
PATIENT = DbSettings(
    pool_size=8,
    pool_max_waiting=32,
    pool_timeout_ms=60_000,
    connect_timeout_s=60,
    statement_timeout_ms=60_000,
    transaction_timeout_ms=90_000,
    idle_transaction_timeout_ms=90_000,
    request_deadline_ms=120_000,
)
SETTINGS = LegacySettings(grace_ms=0, shadow_min_reads=0)


@pytest.fixture(autouse=True)
def uninstalled() -> Iterator[None]:
    """Leave nothing of the move to the tests that follow in this process."""
    yield
    job_catalogue.EXTENSIONS.clear()


@pytest.fixture
def move(database: str, database_owner: str) -> Iterator[Move]:
    """A tenant with two stores that no domain is attached to yet."""
    db, owner = (Database(url, PATIENT) for url in (database, database_owner))
    store = {domain: MemoryStore(domain) for domain in COLUMNS}
    link = {
        domain: Link(
            adapter="memory",
            store=store[domain],
            columns=COLUMNS[domain],
            compare=PlainCompare(domain),  # type: ignore[arg-type] # Real maps: test_drift.
        )
        for domain in COLUMNS
    }
    links = Links(lambda _, domain: link[domain])
    mirror = Mirror(db, links, ledger=True)
    with_flags = {"schema": MigrationCheck(), "flags": dict.fromkeys(COLUMNS, True), "ledger": True}
    made = Move(
        db=db,
        owner=owner,
        links=links,
        link=link,
        store=store,
        mirror=mirror,
        phases=Phases(db, links, mirror, SETTINGS, **with_flags),  # type: ignore[arg-type]
        attaching=Phases(owner, links, mirror, SETTINGS, **with_flags),  # type: ignore[arg-type]
        url=database_owner,
    )
    yield made
    db.close()
    owner.close()

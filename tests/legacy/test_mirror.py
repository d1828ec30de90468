"""The mirror: what is marked comes to be as the truth has it, whatever happens (D20 to D25)."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from legacy.store import LegacyUnavailable
from tests.legacy.conftest import captured, payment, user

if TYPE_CHECKING:
    from tests.legacy.conftest import Move

pytestmark = pytest.mark.database  # Runs on 16 too.


@pytest.fixture
def dual(move: Move) -> Move:
    """Both domains attached, in phase 2."""
    move.attach("users", "payments")
    move.force("users", 2)
    move.force("payments", 2)
    move.backfilled("users")
    move.backfilled("payments")
    return move


@pytest.fixture
def reads_new(dual: Move) -> Move:
    """Both domains in phase 4."""
    dual.force("users", 4)
    dual.force("payments", 4)
    return dual


def users(move: Move) -> list[tuple[Any, ...]]:
    return move.sql("SELECT legacy_id, email, status, version FROM users ORDER BY legacy_id")


# --- Legacy to new ------------------------------------------------------------------------------


def test_what_the_legacy_program_writes_comes_to_new(dual: Move) -> None:
    """D21, D30: the queue becomes marks, the marks become rows."""
    store = dual.store["users"]
    store.program_writes(user("1"))
    assert dual.mirror.run_once() == 2
    store.program_writes(user("1", email="Other@Example.org", status="disabled"))
    dual.mirror.run_once()
    assert users(dual) == [("1", "Other@Example.org", "disabled", 2)]
    assert (dual.marks(), store.queue) == ([], {})


def test_a_mark_copied_twice_changes_nothing(dual: Move) -> None:
    """D21, D23: the same version does not win against itself."""
    dual.store["users"].program_writes(user("1"))
    dual.mirror.run_once()
    dual.mark("users", "1", "1")
    dual.mirror.run_once()
    assert users(dual) == [("1", "user1@example.org", "active", 1)]


def test_an_older_row_never_wins(dual: Move) -> None:
    """D1, D23: order is by version."""
    dual.store["users"].program_writes(user("1"))
    dual.mirror.run_once()
    dual.copied("UPDATE users SET version = 9, email = 'new@x.org', email_norm = 'new@x.org'")
    dual.store["users"].program_writes(user("1", email="late@example.org"))
    dual.mirror.run_once()
    assert users(dual) == [("1", "new@x.org", "active", 9)]


def test_a_program_that_raises_no_versions_is_followed_by_its_rows(dual: Move) -> None:
    """D30: the shard's lock is the fence; new counts the versions."""
    store = dual.store["users"]
    store.capabilities = type(store.capabilities)(writes=True, capture="trigger", versions=False)
    dual.relink("users", writers="legacy")
    for email in ("a@x.org", "b@x.org", "b@x.org", "a@x.org"):
        store.program_writes(user("1", email=email), raises_version=False)
        dual.mirror.run_once()
    assert users(dual) == [("1", "a@x.org", "active", 3)]


def test_columns_that_legacy_does_not_have_stay(dual: Move) -> None:
    """V3: a map without a name or a role does not empty them."""
    dual.store["users"].program_writes(user("1"))
    dual.mirror.run_once()
    dual.copied("UPDATE users SET role = 'operator', display_name = 'Ada'")
    dual.store["users"].program_writes(user("1", status="disabled"))
    dual.mirror.run_once()
    assert dual.sql("SELECT role, display_name, status FROM users") == [
        ("operator", "Ada", "disabled")
    ]


def test_a_changed_legacy_hash_clears_ours_and_ends_the_sessions(dual: Move) -> None:
    """D40: or the old password would come back at the next move to phase 4."""
    dual.store["users"].program_writes(user("1"))
    dual.mirror.run_once()
    ours = "$argon2id$v=19$m=8192,t=1,p=1$" + "A" * 22 + "$" + "A" * 43
    dual.copied(
        "UPDATE users SET password_hash = %s, password_algo = 'argon2id',"
        ' password_params = \'{"m": 8192, "t": 1, "p": 1}\', password_hash_version = 1',
        ours,
    )
    dual.store["users"].program_writes(user("1", status="active", email="same@x.org"))
    dual.mirror.run_once()
    assert dual.sql("SELECT password_hash, session_epoch FROM users") == [(ours, 0)]
    changed = "$2b$04$" + "/" * 53
    dual.store["users"].program_writes(user("1", legacy_password_hash=changed))
    dual.mirror.run_once()
    assert dual.sql(
        "SELECT password_hash, password_algo, legacy_password_hash, session_epoch FROM users"
    ) == [(None, None, changed, 1)]


def test_a_user_gone_at_the_truth_is_deleted_softly(dual: Move) -> None:
    """D25: payments point to it; twice is harmless."""
    dual.store["users"].program_writes(user("1"))
    dual.mirror.run_once()
    dual.store["users"].program_deletes("1")
    dual.mirror.run_once()
    dual.mark("users", "1", "never-there")
    dual.mirror.run_once()
    assert users(dual) == [("1", None, "deleted", 2)]
    assert dual.marks() == []


def test_a_key_gone_keeps_its_mark_until_the_backfill_has_finished(dual: Move) -> None:
    """D28: a batch that was read earlier must not revive it."""
    dual.sql("UPDATE backfill_cursors SET finished_at = NULL")
    dual.mark("users", "7")
    dual.mirror.run_once()
    assert dual.marks() == ["7"]
    dual.backfilled()
    dual.mirror.run_once()
    assert dual.marks() == []


def test_a_payment_that_vanished_is_set_aside(dual: Move) -> None:
    """D25: a payment is never deleted."""
    dual.store["users"].program_writes(user("1"))
    dual.store["payments"].program_writes(payment("5"))
    dual.mirror.run_once()
    dual.store["payments"].program_deletes("5")
    dual.mirror.run_once()
    assert dual.rejects("payments") == [("5", "payment_vanished")]
    assert dual.marks("payments") == ["5"]


def test_a_row_that_breaks_a_rule_stops_no_other(dual: Move) -> None:
    """D25: code and columns, no values; its mark backs off, and mended it comes."""
    store = dual.store["users"]
    for number in range(1, 6):
        store.program_writes(user(str(number)))
    store.rejects["3"] = "email_invalid"
    store.program_writes(user("6", email="USER1@example.org"))
    dual.mirror.run_once()
    assert [row[0] for row in users(dual)] == ["1", "2", "4", "5"]
    assert dual.rejects() == [("3", "email_invalid"), ("6", "email_taken")]
    waits = dual.sql("SELECT attempts, next_try_at > now(), last_error FROM mirror_marks")
    assert sorted(waits) == [(1, True, "email_invalid"), (1, True, "email_taken")]
    assert dual.mirror.run_once() == 0
    store.rejects.clear()
    store.rows["6"] = store.rows["6"].__class__("6", 2, user("6"), None)
    dual.due_now()
    dual.mirror.run_once()
    assert (dual.rejects(), dual.marks()) == ([], [])
    assert len(users(dual)) == 6


def test_a_payment_waits_for_its_user(dual: Move) -> None:
    """D25: it is no reject; once the user has come, so does the payment."""
    dual.store["payments"].program_writes(payment("5"))
    dual.mirror.run_once()
    assert (dual.rejects("payments"), dual.marks("payments")) == ([], ["5"])
    dual.store["users"].program_writes(user("1"))
    dual.due_now()
    dual.mirror.run_once()
    dual.due_now()
    dual.mirror.run_once()
    assert dual.sql("SELECT legacy_id FROM payments") == [("5",)]


def test_the_ledger_gets_the_difference(dual: Move) -> None:
    """D24: captures, refunds and fees; sql/checks compare payments, events and accounts."""
    dual.store["users"].program_writes(user("1"))
    program = dual.store["payments"].program_writes
    program(payment("5"))
    program(payment("6", **captured(700, fee=20)))
    dual.mirror.run_once()
    program(payment("5", **captured(1_000, fee=10)))
    dual.mirror.run_once()
    program(payment("5", **captured(1_000, fee=10, refunded=400)))
    dual.mirror.run_once()
    assert dual.sql(
        "SELECT a.code, sum(b.credits_posted - b.debits_posted)::int FROM ledger_balances AS b"
        " INNER JOIN ledger_accounts AS a USING (tenant_id, account_id)"
        " WHERE a.code NOT LIKE '%%:disputed' GROUP BY 1 ORDER BY 1"
    )[0] == ("gateways:legacy:clearing", -1_300)
    assert dual.sql("SELECT metadata FROM ledger_transactions") == [({"source": "legacy"},)] * 3
    assert dual.sql("SELECT type, seq FROM payment_events WHERE seq = 3") == [
        ("payment.mirrored", 3)
    ]


def test_amounts_that_go_back_are_set_aside(dual: Move) -> None:
    """D24: what was captured cannot be uncaptured here: a person has to look."""
    dual.store["users"].program_writes(user("1"))
    dual.store["payments"].program_writes(payment("5", **captured()))
    dual.mirror.run_once()
    dual.store["payments"].program_writes(payment("5", **captured(900)))
    dual.mirror.run_once()
    assert dual.rejects("payments") == [("5", "amount_decreased")]
    assert dual.sql("SELECT captured_minor FROM payments") == [(1_000,)]


def test_disputes_of_legacy_come_with_their_payment(dual: Move) -> None:
    """D24: open and lost ones sum up to the amounts."""
    dual.store["users"].program_writes(user("1"))
    disputed = {**captured(), "disputed_minor": 300, "charged_back_minor": 200}
    dual.store["payments"].program_writes(payment("5", **{**disputed, "status": "disputed"}))
    dual.mirror.run_once()
    assert dual.sql("SELECT status, amount_minor::int FROM payment_disputes ORDER BY 1") == [
        ("lost", 200),
        ("open", 300),
    ]


def test_a_store_that_is_down_keeps_all_marks(dual: Move) -> None:
    """MF1: nothing is lost, nothing is noted against the rows."""
    dual.store["users"].program_writes(user("1"))
    dual.store["users"].down = True
    assert dual.mirror.run_once() == 0
    dual.mark("users", "1")
    dual.mirror.run_once()
    assert (dual.marks(), dual.rejects()) == (["1"], [])


# --- New to legacy ------------------------------------------------------------------------------


def test_what_new_writes_comes_to_legacy(reads_new: Move) -> None:
    """D20, D21: the mark stands in the transaction of the write."""
    made = reads_new.new_user()
    assert reads_new.marks() == [made]
    reads_new.mirror.run_once()
    sent = reads_new.store["users"].rows[made]
    assert (sent.version, sent.row["email"]) == (1, f"{made}@example.org")
    assert reads_new.marks() == []


def test_ids_of_the_other_store_are_given_once(reads_new: Move) -> None:
    """D26: a retry uses the id that the first try took."""
    store = reads_new.store["users"]
    store.capabilities = type(store.capabilities)(writes=True, ids=True)
    reads_new.new_user()
    store.rejects = {"1000001": "email_invalid"}
    reads_new.mirror.run_once()
    store.rejects = {}
    reads_new.due_now()
    reads_new.mirror.run_once()
    assert list(store.rows) == ["1000001"]
    assert reads_new.sql("SELECT legacy_id FROM users") == [("1000001",)]
    assert reads_new.marks() == []


def test_an_erased_user_becomes_a_tombstone(reads_new: Move) -> None:
    """D25: the legacy store forgets the person too."""
    made = reads_new.new_user()
    reads_new.mirror.run_once()
    reads_new.sql(
        "UPDATE users SET email = NULL, email_norm = NULL, status = 'deleted',"
        " version = version + 1 WHERE id = %s",
        made,
    )
    reads_new.mirror.run_once()
    sent = reads_new.store["users"].rows[made]
    assert (sent.deleted, sent.row) == (True, {"legacy_id": made})


def test_nothing_is_sent_once_new_stands_alone(reads_new: Move) -> None:
    """2.1, phase 5: marks are parked for the way back, which sends them."""
    reads_new.force("users", 5)
    made = reads_new.new_user()
    reads_new.mirror.run_once()
    assert (reads_new.marks(), reads_new.store["users"].rows) == ([made], {})
    reads_new.phases.step_back(reads_new.ask("users"))
    reads_new.mirror.run_once()
    assert list(reads_new.store["users"].rows) == [made]


def test_two_mirrors_copy_each_key_once(reads_new: Move) -> None:
    """D21: a shard has one at a time; together they finish."""
    made = {reads_new.new_user() for _ in range(20)}
    mirrors = [threading.Thread(target=reads_new.mirror.run_once) for _ in range(3)]
    for thread in mirrors:
        thread.start()
    for thread in mirrors:
        thread.join()
    reads_new.mirror.run_once()
    assert set(reads_new.store["users"].rows) == made
    assert reads_new.marks() == []


def test_a_mark_made_meanwhile_stays(reads_new: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    """D21: exactly the marks that were read before the row are taken away."""
    made = reads_new.new_user()
    store = reads_new.store["users"]
    follow = store.follow

    def slow(row: Any) -> bool:
        if row.version == 1:
            reads_new.sql("UPDATE users SET version = version + 1 WHERE id = %s", made)
        return follow(row)

    monkeypatch.setattr(store, "follow", slow)
    reads_new.mirror.run_once()
    assert reads_new.marks() == [made]
    reads_new.mirror.run_once()
    assert (store.rows[made].version, reads_new.marks()) == (2, [])


def test_slow_legacy_holds_up_neither_vacuum_nor_sealing(
    reads_new: Move, monkeypatch: pytest.MonkeyPatch, database_admin: str
) -> None:
    """D22: before its remote call the transaction holds no xid and no snapshot."""
    made = reads_new.new_user()
    reads_new.sql("UPDATE users SET legacy_id = %s", made)
    reads_new.url = database_admin  # Who sees what other sessions hold.
    seen: list[tuple[Any, ...]] = []

    def look(_: Any) -> bool:
        seen.extend(
            reads_new.sql(
                "SELECT backend_xid, backend_xmin FROM pg_stat_activity"
                " WHERE state = 'idle in transaction' AND datname = current_database()"
            )
        )
        raise LegacyUnavailable("slow")

    monkeypatch.setattr(reads_new.store["users"], "follow", look)
    reads_new.mirror.run_once()
    assert seen == [(None, None)]
    assert len(reads_new.marks()) == 1

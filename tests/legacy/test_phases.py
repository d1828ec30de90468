"""Moves between phases: gates refuse, one step at a time, nobody in between (D3 to D9)."""

from __future__ import annotations

import os
import threading
import time
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from legacy.refusals import GateFailed, LegacyDown, MigrationSwitching, NotOneStep, PhaseChanged
from tests.legacy.conftest import user

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.legacy.conftest import Move

ROUNDS = int(os.environ.get("RACE_ROUNDS", "6"))


def refused(call: Callable[[], Any]) -> set[str]:
    """Return the gates that refuse a move."""
    with pytest.raises(GateFailed) as caught:
        call()
    return {str(fault["pointer"]).removeprefix("/gates/") for fault in caught.value.errors}


def phase(move: Move, domain: str = "users") -> int:
    state = move.phases.state("default", domain)
    assert state is not None
    return state.phase


# --- Attaching ----------------------------------------------------------------------------------


def test_attaching_begins_in_phase_one_and_is_audited(move: Move) -> None:
    """D3: state, move and audit row; from now on legacy decides."""
    move.attach("users")
    assert phase(move) == 1
    assert move.sql("SELECT from_phase, to_phase, moved_by FROM migration_moves") == [
        (0, 1, "cli:test")
    ]
    assert move.sql("SELECT subject, reason FROM audit_log WHERE event LIKE 'legacy%%'") == [
        ("cli:test", "test")
    ]
    with pytest.raises(psycopg.Error) as caught:
        move.new_user()
    assert caught.value.sqlstate == "LG001"


def test_a_domain_is_attached_once(move: Move) -> None:
    move.attach("users")
    with pytest.raises(PhaseChanged):
        move.attaching.attach(move.ask())


def test_attaching_is_refused_where_new_has_rows(move: Move) -> None:
    """Gates of attach: unless it is said to go on where an earlier move stopped."""
    move.new_user()
    assert refused(lambda: move.attaching.attach(move.ask())) == {"empty"}
    move.attaching.attach(move.ask(), resume=True)
    assert phase(move) == 1


def test_attaching_asks_the_store_and_a_sample(move: Move) -> None:
    """Gates of attach: it answers, and its rows map; bad rows may be waived."""
    store = move.store["users"]
    store.program_writes(user("1"))
    store.rejects["1"] = "email_invalid"
    assert refused(lambda: move.attaching.attach(move.ask())) == {"rejects"}
    store.down = True
    assert refused(lambda: move.attaching.attach(move.ask())) == {"adapter"}
    store.down = False
    move.attaching.attach(move.ask(waive=frozenset({"rejects"})))
    assert phase(move) == 1


def test_users_go_first(move: Move) -> None:
    """2.1: phase(users) >= phase(payments), forward and back."""
    assert refused(lambda: move.attach("payments")) == {"users_first"}
    move.attach("users", "payments")
    assert "users_first" in refused(lambda: move.step("payments"))
    move.step("users")
    move.step("payments")
    assert refused(lambda: move.phases.step_back(move.ask())) == {"payments_first"}


# --- Gates --------------------------------------------------------------------------------------


def test_dual_write_needs_its_flag(move: Move) -> None:
    """D3: the flag is the permission."""
    move.attach("users")
    move.phases._flags["users"] = False
    assert refused(move.step) == {"flag"}


def test_dual_write_needs_enabled_triggers(move: Move) -> None:
    move.attach("users")
    move.sql("SELECT legacy_switch('users', false)")
    assert refused(move.step) == {"triggers"}


def test_verifying_needs_the_backfill_and_a_short_backlog(move: Move) -> None:
    move.attach("users")
    move.step()
    move.sql("INSERT INTO legacy_rejects VALUES ('default', 'users', '1', 'to_new', 'x')")
    move.mark("users", "1")
    move.sql("UPDATE mirror_marks SET at = now() - interval '1 h'")
    assert refused(move.step) == {"backfill", "rejects", "backlog"}
    move.backfilled()
    move.sql("DELETE FROM mirror_marks")
    move.sql("UPDATE legacy_rejects SET waived_by = 'me'")
    assert move.step().to_phase == 3


def test_new_reads_need_a_clean_digest_of_this_phase(move: Move) -> None:
    """A run of an earlier phase, one with drift and one too old do not count."""
    move.attach("users")
    move.force("users", 3)
    assert refused(move.step) == {"digest"}
    move.clean_digest()
    move.sql("UPDATE drift_runs SET started_at = now() - interval '1 day'")
    assert refused(move.step) == {"digest"}
    move.clean_digest()
    move.sql("UPDATE drift_runs SET status = 'drift'")
    assert refused(move.step) == {"digest"}
    move.clean_digest()
    assert move.step().to_phase == 4


def test_new_reads_need_shadow_reads_without_a_mismatch(move: Move) -> None:
    """D32: waived only with --waive-gate shadow, which the move keeps (D9)."""
    move.attach("users")
    move.force("users", 3)
    move.clean_digest()
    move.sql(
        "INSERT INTO shadow_counts (tenant_id, domain, day, compared, mismatched)"
        " VALUES ('default', 'users', current_date, 5000, 1)"
    )
    assert refused(lambda: move.phases.advance(move.ask())) == {"shadow"}
    move.step()
    assert move.sql("SELECT waived FROM migration_moves WHERE to_phase = 4") == [
        (["shadow", "soak"],)
    ]


def test_new_only_needs_its_soak(move: Move) -> None:
    move.attach("users")
    move.force("users", 4)
    assert refused(lambda: move.phases.advance(move.ask())) == {"soak", "digest"}
    move.clean_digest()
    move.sql("UPDATE migration_state SET since = now() - interval '2 days'")
    assert move.phases.advance(move.ask()).to_phase == 5


def test_marks_are_never_waived(move: Move) -> None:
    """D9, 4 -> 3: legacy holds every acknowledged write, or the move is refused."""
    move.attach("users")
    move.force("users", 4)
    made = move.new_user()
    move.store["users"].rejects[made] = "email_invalid"
    everything = frozenset({"marks", "shadow", "soak", "rejects"})
    found = refused(lambda: move.phases.step_back(move.ask(waive=everything)))
    assert found == {"marks"}
    assert phase(move) == 4
    move.store["users"].rejects.clear()
    move.phases.step_back(move.ask())
    assert (phase(move), list(move.store["users"].rows)) == (3, [made])


def test_a_pending_intent_holds_the_phase(move: Move) -> None:
    """D13: the move waits for it, and gives up in time."""
    move.attach("users")
    move.step()
    move.sql(
        "INSERT INTO migration_intents (tenant_id, intent_id, domain, entity_id, op,"
        " expected_version, row_after, not_after, lease_token, lease_until) VALUES ('default',"
        " gen_random_uuid(), 'users', '1', 'replace', 1, '{}', now(), gen_random_uuid(), now())"
    )
    assert refused(lambda: move.phases.step_back(move.ask(wait_ms=200))) == {"intents"}
    done = threading.Thread(target=_settle_soon, args=(move,))
    done.start()
    assert move.phases.step_back(move.ask()).to_phase == 1
    done.join()


def _settle_soon(move: Move) -> None:
    time.sleep(0.2)
    move.sql("UPDATE migration_intents SET status = 'applied'")


# --- Steps --------------------------------------------------------------------------------------


def test_a_move_is_one_step(move: Move) -> None:
    """2.7: 422 if not one step, phase_changed if `from` is stale."""
    move.attach("users")
    for pair in ((1, 3), (1, 1), (1, 0), (5, 6)):
        with pytest.raises(NotOneStep):
            move.phases.move(move.ask(), *pair)
    with pytest.raises(PhaseChanged):
        move.phases.move(move.ask(), 2, 3)


def test_a_store_that_is_only_read_goes_past_phase_four_and_never_back(move: Move) -> None:
    """D9: whoever asks, by a command or over HTTP; one that is written passes nothing."""
    move.attach("users")
    move.force("users", 3)
    move.backfilled()
    move.clean_digest()
    with pytest.raises(NotOneStep):
        move.phases.move(move.ask(), 3, 5)
    store = move.store["users"]
    store.capabilities = replace(store.capabilities, writes=False, capture=None, fence=False)
    for call in (move.step, partial(move.phases.move, move.ask(), 3, 4)):
        with pytest.raises(GateFailed, match="read-only"):
            call()
    assert move.phases.advance(move.ask(), no_way_back=True).to_phase == 5
    with pytest.raises(GateFailed, match="read-only"):
        move.phases.step_back(move.ask())
    assert phase(move) == 5


def test_a_dry_run_changes_nothing(move: Move) -> None:
    move.attach("users")
    found = move.step(dry_run=True)
    assert (found.done, phase(move)) == (False, 1)
    assert {gate.name for gate in found.gates} == {"flag", "schema", "triggers", "capture"}


def test_the_way_through_and_back(move: Move) -> None:
    """D9: every step forward, every step back, and again; each is a row of moves."""
    move.attach("users")
    for _ in range(2):
        for to in (2, 3, 4, 5):
            move.backfilled()
            move.clean_digest()
            assert move.step().to_phase == to
        for to in (4, 3, 2, 1):
            assert move.phases.step_back(move.ask()).to_phase == to
    assert len(move.sql("SELECT 1 FROM migration_moves")) == 17


def test_the_last_marks_are_copied_by_the_move_itself(move: Move) -> None:
    """D7: writers wait for as long as that takes, and no mark is left."""
    move.attach("users")
    move.force("users", 3)
    move.backfilled()
    move.clean_digest()
    for number in range(5):
        move.store["users"].program_writes(user(str(number)))
    move.step()
    assert len(move.sql("SELECT 1 FROM users")) == 5
    assert (phase(move), move.marks()) == (4, [])


def test_the_legacy_program_is_shut_out_before_new_decides(move: Move) -> None:
    """D31: and let in again on the way back, or if the move fails."""
    move.attach("users")
    move.force("users", 3)
    store = move.store["users"]
    with pytest.raises(GateFailed):
        move.step()
    assert not store.is_fenced
    move.clean_digest()
    move.step()
    assert store.is_fenced
    with pytest.raises(PermissionError):
        store.program_writes(user("1"))
    move.phases.step_back(move.ask())
    assert not store.is_fenced


def test_the_mirror_lifts_a_fence_that_a_crash_has_left(move: Move) -> None:
    """D31, MF2: phase 3, and nobody holds the gate."""
    move.attach("users")
    move.force("users", 3)
    move.store["users"].is_fenced = True
    move.sql("UPDATE migration_state SET fenced_at = now()")
    with closing(psycopg.connect(move.url)) as conn:
        conn.execute("SELECT pg_advisory_xact_lock(1397902407, hashtext('default/users'))")
        move.mirror.run_once()
        assert move.store["users"].is_fenced
        conn.rollback()  # A connection that is closed gives its locks back a little later.
    move.mirror.run_once()
    assert not move.store["users"].is_fenced


def test_a_store_that_is_down_leaves_everything_as_it_was(move: Move) -> None:
    """MF1: 4 -> 3 cannot be, while new holds writes that legacy has not."""
    move.attach("users")
    move.force("users", 4)
    move.new_user()
    move.store["users"].down = True
    with pytest.raises(LegacyDown):
        move.phases.step_back(move.ask())
    assert phase(move) == 4


def test_a_writer_that_does_not_end_stops_the_move(move: Move) -> None:
    """D7: past the limit nothing has changed, and the writer goes on."""
    move.attach("users")
    move.force("users", 5)
    with closing(psycopg.connect(move.url)) as conn:
        conn.execute(
            "INSERT INTO users (tenant_id, id, email, email_norm)"
            " VALUES ('default', gen_random_uuid(), 'a@x.org', 'a@x.org')"
        )
        with pytest.raises(MigrationSwitching):
            move.phases.step_back(move.ask(wait_ms=300))
        conn.commit()
    assert (phase(move), len(move.sql("SELECT 1 FROM users"))) == (5, 1)


def test_the_ledgers_flag_is_kept_on_leaving_phase_one(move: Move) -> None:
    """D4."""
    move.attach("users")
    move.step()
    assert move.sql("SELECT ledger_enabled FROM migration_state") == [(True,)]
    move.phases.step_back(move.ask())
    assert move.sql("SELECT ledger_enabled FROM migration_state") == [(None,)]


def test_finishing_drops_the_way_back(move: Move) -> None:
    """finish: marks and bcrypt hashes go, the triggers with the last domain."""
    move.attach("users")
    move.force("users", 5)
    move.new_user()
    move.sql(
        "UPDATE users SET legacy_password_hash = %s, password_hash = %s,"
        " password_algo = 'argon2id', password_params = %s, version = 2",
        "$2b$04$" + "." * 53,
        "$argon2id$v=19$m=8192,t=1,p=1$" + "A" * 22 + "$" + "A" * 43,
        '{"m": 8192, "t": 1, "p": 1}',
    )
    done = move.attaching.finish(move.ask())
    assert (done.marks_dropped, done.hashes_cleared) == (2, 1)
    assert move.sql("SELECT legacy_password_hash FROM users") == [(None,)]
    move.new_user()
    assert move.marks() == []
    assert not move.phases.facts("default", "users").triggers_are_enabled
    with pytest.raises(PhaseChanged):
        move.phases.step_back(move.ask())


def test_finishing_is_refused_before_phase_five(move: Move) -> None:
    move.attach("users")
    with pytest.raises(PhaseChanged):
        move.attaching.finish(move.ask())


# --- Races --------------------------------------------------------------------------------------


def test_writers_race_switches_and_none_is_lost(move: Move) -> None:
    """T8, D2: every write that was acknowledged is at the truth after each switch."""
    move.attach("users")
    move.force("users", 4)
    stop, acknowledged, faults = threading.Event(), set[str](), list[str]()

    def write() -> None:
        while not stop.is_set():
            try:
                acknowledged.add(move.new_user())
            except psycopg.Error as error:
                if error.sqlstate not in {"LG001", "55P03"}:
                    faults.append(str(error))

    writers = [threading.Thread(target=write) for _ in range(3)]
    for thread in writers:
        thread.start()
    holds = []
    try:
        for _ in range(ROUNDS):
            holds.append(_until_done(lambda: move.phases.step_back(move.ask())))
            assert acknowledged <= set(move.store["users"].rows)
            move.clean_digest()
            holds.append(_until_done(move.step))
    finally:
        stop.set()
        for thread in writers:
            thread.join()
    assert faults == []
    assert len(acknowledged) > ROUNDS
    assert max(holds) <= 3_000


def _until_done(step: Callable[[], Any]) -> int:
    """Move, again if writers did not make way in time."""
    while True:
        try:
            return int(step().hold_ms)
        except (MigrationSwitching, GateFailed):
            continue

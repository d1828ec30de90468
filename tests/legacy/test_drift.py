"""DriftVerifier: exactly what differs, nothing else, and nothing that is on its way (2.5)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from legacy.drift import Ask, Report, Verifier
from legacy.refusals import LegacyDown, PhaseChanged
from legacy.store import LegacyUnavailable
from legacy.stores.memory import MemoryStore
from tests.legacy.conftest import captured, payment, soon, user
from tests.legacy.maps import maps, shop

if TYPE_CHECKING:
    from tests.legacy.conftest import Move

pytestmark = pytest.mark.database  # Runs on 16 too.


@pytest.fixture
def both(move: Move) -> Move:
    """Twenty users and payments in stores with a column map, copied, in phase 3."""
    found = maps(shop('adapter = "memory"'))
    for domain, mapping in found.items():
        store: Any = MemoryStore(mapping)
        move.store[domain] = store
        move.relink(domain, store=store, compare=mapping, columns=frozenset(mapping.by_name))
    for number in range(1, 21):
        key = str(number)
        made: Any = move.store["users"]
        made.create(user(key, display_name=f"N{key}"), f"op{key}", soon())
        paid = captured() if number % 2 else {}
        given = payment(key, key, **{"gateway": "shop", "reference": key, **paid})
        made = move.store["payments"]
        made.create(given, f"op{key}", soon())
    move.attach("users", "payments")
    for domain in found:
        move.force(domain, 3)
        move.backfilled(domain)
    for domain in found:
        move.mark(domain, *[str(number) for number in range(1, 21)])
        move.copy_all()
    return move


def verify(move: Move, domain: str = "users", **given: Any) -> Report:
    ask = Ask(tenant_id="default", domain=domain, by="cli:test", **given)
    return Verifier(move.db, move.mirror, grace_ms=0).run(ask)


def found(report: Report) -> list[tuple[str, str, list[str]]]:
    return sorted((item.entity_id, item.kind, item.columns) for item in report.items)


def test_stores_that_agree_are_clean(both: Move) -> None:
    """V1, V3: each row, as the other side can hold it; the run is kept (V6)."""
    for domain in ("users", "payments"):
        report = verify(both, domain)
        assert report.clean, found(report)
        assert report.as_json()["rows"] == {"truth": 20, "follower": 20}
    assert both.sql("SELECT domain, status FROM drift_runs ORDER BY started_at") == [
        ("users", "clean"),
        ("payments", "clean"),
    ]
    assert both.phases.facts("default", "users").drift_is_clean


def test_exactly_what_differs_is_found(both: Move) -> None:
    """T9: missing, extra, a column; and nothing else."""
    both.copied("UPDATE users SET display_name = 'other' WHERE legacy_id = '3'")
    both.copied("UPDATE users SET email = 'x@y.org', status = 'disabled' WHERE legacy_id = '4'")
    both.copied("UPDATE users SET legacy_id = 'gone' WHERE legacy_id = '5'")
    report = verify(both)
    assert not report.clean
    assert found(report) == [
        ("3", "different", ["display_name"]),
        ("4", "different", ["email", "status"]),
        ("5", "missing_in_new", []),
        ("gone", "missing_in_legacy", []),
    ]
    kept = both.sql("SELECT entity_id, kind, columns FROM drift_items ORDER BY 1")
    assert [tuple(row) for row in kept] == found(report)


def test_what_is_marked_is_no_drift(both: Move) -> None:
    """V4: it is on its way."""
    both.copied("UPDATE users SET display_name = 'other' WHERE legacy_id IN ('3', '4')")
    both.mark("users", "3")
    report = verify(both)
    assert [key for key, _, _ in found(report)] == ["4"]
    assert report.counts["in_flight"] == 1


def test_repair_copies_truth_to_follower(both: Move) -> None:
    """V5: by marks; after it a second run is clean."""
    both.copied("UPDATE users SET display_name = 'other', version = 0 + 1 WHERE legacy_id = '3'")
    both.copied(
        "UPDATE users SET legacy_id = NULL, email = 'a@b.org', email_norm = 'a@b.org'"
        " WHERE legacy_id = '5'"
    )
    report = verify(both, repair=True)
    assert report.counts["repaired"] == 2
    both.copy_all()
    assert verify(both).clean


def test_new_is_the_truth_from_phase_four_on(both: Move) -> None:
    """2.1: and repair goes the other way."""
    both.force("users", 4)
    both.sql("SELECT legacy_switch('users', false)")
    both.sql("UPDATE users SET display_name = 'truth', version = 5 WHERE legacy_id = '3'")
    both.sql("SELECT legacy_switch('users', true)")
    report = verify(both, repair=True)
    assert (report.truth, found(report)) == ("new", [("3", "different", ["display_name"])])
    assert report.items[0].truth_version == 5
    both.copy_all()
    assert both.link["users"].store.get_many(["3"])["3"].row["display_name"] == "truth"
    assert verify(both).clean


def test_an_erased_user_is_no_drift(both: Move) -> None:
    """D25: new keeps the id, legacy nothing."""
    both.copied(
        "UPDATE users SET email = NULL, email_norm = NULL, status = 'deleted',"
        " display_name = NULL, legacy_password_hash = NULL, legacy_id = 'was'"
        " WHERE legacy_id = '3'"
    )
    assert found(verify(both)) == [("3", "missing_in_new", [])]


@pytest.mark.parametrize("level", [1, 2])
def test_a_shallow_run_counts_buckets(both: Move, level: int) -> None:
    """2.5: of what differs for certain; without rows."""
    both.copied("UPDATE users SET display_name = 'other' WHERE legacy_id = '3'")
    report = verify(both, level=level)
    assert (report.counts["different"], report.items) == (1, [])
    both.mark("users", "3")
    assert verify(both, level=level).clean


@pytest.mark.parametrize("domain", ["users", "payments"])
def test_totals_are_compared_first(both: Move, domain: str) -> None:
    """2.5, level 0: rows, counts and sums by status and currency, the highest version."""
    assert verify(both, domain, level=0).clean
    both.copied(f"UPDATE {domain} SET version = 9 WHERE legacy_id = '4'")
    assert verify(both, domain, level=0).counts["different"] == 1
    both.mark(domain, "4")
    report = verify(both, domain, level=0)
    assert (report.counts["different"], report.counts["unsettled"]) == (0, 1)
    both.copied(f"UPDATE {domain} SET version = 1 WHERE legacy_id = '4'")


def test_some_rows_may_be_compared(both: Move) -> None:
    """2.5: a sample, or what changed since; no gate counts such a run."""
    both.copied("UPDATE users SET display_name = 'other', updated_at = now() WHERE legacy_id = '3'")
    assert [key for key, _, _ in found(verify(both, sample=20))] == ["3"]
    assert verify(both, sample=1).as_json()["rows"] == {"truth": 1, "follower": 1}
    yesterday = datetime.now(UTC) - timedelta(days=1)
    report = verify(both, since=yesterday)
    assert [key for key, _, _ in found(report)] == ["3"]
    assert report.as_json()["rows"] == {"truth": 0, "follower": 1}
    assert both.sql("SELECT DISTINCT level::int FROM drift_runs") == [(0,)]


def test_what_only_the_follower_has_stays_unless_it_is_said(both: Move) -> None:
    """V5: `--allow-delete`, and a payment never."""
    for domain in ("users", "payments"):
        both.copied(f"UPDATE {domain} SET legacy_id = 'extra' WHERE legacy_id = '5'")
        assert verify(both, domain, repair=True).counts["repaired"] == 1
        both.copy_all()
        assert [row[:2] for row in found(verify(both, domain))] == [("extra", "missing_in_legacy")]
    assert verify(both, repair=True, allow_delete=True).counts["repaired"] == 1
    assert verify(both, "payments", repair=True, allow_delete=True).counts["repaired"] == 0
    both.copy_all()
    assert verify(both).clean
    assert both.sql("SELECT status FROM users WHERE legacy_id = 'extra'") == [("deleted",)]


def test_a_user_whom_only_legacy_has_goes_where_new_decides(both: Move) -> None:
    """V5: the other way round; the tombstone is newer than the row."""
    both.store["users"].create(user("77"), "op77", soon())
    both.force("users", 4)
    assert found(verify(both, repair=True)) == [("77", "missing_in_new", [])]
    assert verify(both, repair=True, allow_delete=True).counts["repaired"] == 1
    both.copy_all()
    assert verify(both).clean
    assert both.link["users"].store.scan_ids("76", 5) == []


def test_a_broken_row_of_legacy_is_never_taken_for_a_missing_one(both: Move) -> None:
    """V5: or `--allow-delete` would erase the user."""
    store: Any = both.store["users"]
    store._held["6"].raw["mail"] = "no address"
    report = verify(both, repair=True, allow_delete=True)
    assert found(report) == [("6", "different", ["email"])]
    both.copy_all()
    assert both.sql("SELECT status FROM users WHERE legacy_id = '6'") == [("active",)]
    assert both.rejects() == [("6", "email_invalid")]


def test_a_store_that_is_down_is_a_failed_run(both: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 4, never a clean run."""

    def down(_: bytes) -> None:
        raise LegacyUnavailable("down")

    monkeypatch.setattr(both.store["users"], "digest", down)
    with pytest.raises(LegacyDown):
        verify(both)
    assert both.sql("SELECT status, error FROM drift_runs") == [("failed", "down")]


def test_one_run_at_a_time(both: Move) -> None:
    """V6: a run that a crash has left makes way after ten minutes."""
    verify(both)
    both.sql("UPDATE drift_runs SET status = 'running'")
    with pytest.raises(PhaseChanged):
        verify(both)
    both.sql("UPDATE drift_runs SET started_at = now() - interval '2 hours'")
    assert verify(both).clean

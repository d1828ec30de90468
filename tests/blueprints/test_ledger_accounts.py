"""Accounts as a client meets them: opened, read, listed, changed (ledger page, section 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ACCOUNTS = "/v1/ledger/accounts"
CASH = {"code": "shops:42:cash", "currency": "EUR", "normal_side": "debit"}


@pytest.fixture
def silent_world(database: str, tmp_path: Path) -> Iterator[World]:
    """The service with the ledger switched off, as the specification starts it."""
    made = World(database, tmp_path, FEATURE_LEDGER_ENABLED="false")
    yield made
    made.close()


def refusal(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json["code"]


def test_an_account_is_opened_read_and_changed(world: World) -> None:
    """201 with Location and ETag; the same again 200; PATCH under If-Match."""
    made = world.post(ACCOUNTS, {**CASH, "name": "Cash"}, keyed=False)
    again = world.post(ACCOUNTS, {**CASH, "name": "Cash"}, keyed=False)
    assert (made.status_code, again.status_code, made.data) == (201, 200, again.data)
    assert made.headers["ETag"] == '"1"'

    place = made.headers["Location"]
    changed = world.patch(place, {"status": "frozen", "name": None}, If_Match='"1"')
    late = world.patch(place, {"status": "open"}, If_Match='"1"')

    assert place == "/v1/ledger/accounts/shops:42:cash?currency=EUR"
    assert (changed.json["status"], changed.json["name"], changed.headers["ETag"]) == (
        "frozen", None, '"2"',
    )  # fmt: skip
    assert refusal(late) == (412, "version_mismatch")
    assert world.get(place).json == changed.json


def test_accounts_are_listed_page_by_page(world: World) -> None:
    """LQ1, LA3."""
    for code in ("a:1", "a:2", "b"):
        world.post(ACCOUNTS, {**CASH, "code": code}, keyed=False)

    first = world.get(f"{ACCOUNTS}?prefix=a:&limit=1").json
    second = world.get(f"{ACCOUNTS}?prefix=a:&limit=1&cursor={first['next_cursor']}").json

    assert [row["code"] for row in first["data"] + second["data"]] == ["a:1", "a:2"]
    assert second["next_cursor"] is None


@pytest.mark.parametrize(
    ("more", "status", "code", "pointer"),
    [
        ({"code": "Shops"}, 422, "account_code_invalid", "/code"),
        ({"code": "users:1"}, 422, "account_code_reserved", "/code"),
        ({"currency": "XXX"}, 422, "currency_unsupported", "/currency"),
        ({"floor_minor": 5}, 409, "limit_below_balance", "/floor_minor"),
        ({"normal_side": "left"}, 422, "validation_failed", "/normal_side"),
        ({"floor_minor": 1.0}, 422, "validation_failed", "/floor_minor"),
        ({"stripes": 65}, 422, "validation_failed", "/stripes"),
        ({"owner_user_id": "1"}, 422, "validation_failed", "/owner_user_id"),
        ({"balance_minor": 5}, 422, "validation_failed", "/balance_minor"),
    ],
)
def test_a_bad_account_is_refused_by_its_member(
    world: World, more: dict[str, Any], status: int, code: str, pointer: str
) -> None:
    """Section 9: codes and pointers."""
    answer = world.post(ACCOUNTS, {**CASH, **more}, keyed=False)

    assert refusal(answer) == (status, code)
    assert [fault["pointer"] for fault in answer.json["errors"]] == [pointer]


def test_another_account_under_a_code_is_refused(world: World) -> None:
    """409 account_exists."""
    world.post(ACCOUNTS, CASH, keyed=False)

    answer = world.post(ACCOUNTS, {**CASH, "normal_side": "credit"}, keyed=False)

    assert refusal(answer) == (409, "account_exists")


def test_only_an_administrator_of_the_ledger_changes_accounts(world: World) -> None:
    """Decision 7: ledger:admin, which ledger:post does not hold."""
    world.post(ACCOUNTS, CASH, keyed=False)
    world.api_key = world.new_api_key(["ledger:read", "ledger:post"])
    path = f"{ACCOUNTS}/{CASH['code']}"

    assert refusal(world.post(ACCOUNTS, CASH, keyed=False)) == (403, "scope_missing")
    assert refusal(world.patch(path, {"status": "closed"})) == (403, "scope_missing")
    assert world.get(path).status_code == 200


def test_a_ledger_that_is_switched_off_is_only_read(silent_world: World) -> None:
    """Section 14: writes are 404 feature_disabled, reads work; credentials come first."""
    path = f"{ACCOUNTS}/{CASH['code']}"

    disabled = (404, "feature_disabled")
    assert refusal(silent_world.post(ACCOUNTS, CASH, keyed=False)) == disabled
    assert refusal(silent_world.patch(path, {"name": "x"})) == disabled
    assert refusal(silent_world.get(path)) == (404, "not_found")
    assert silent_world.get(ACCOUNTS).json == {"data": [], "next_cursor": None}
    silent_world.api_key = silent_world.new_api_key(["ledger:read"])
    assert refusal(silent_world.post(ACCOUNTS, CASH, keyed=False)) == (403, "scope_missing")


def test_a_frozen_account_takes_no_capture(world: World) -> None:
    """LA9, P31: accounts that payments opened can be frozen, too."""
    assert world.command(world.payment(), "capture").status_code == 200
    path = f"{ACCOUNTS}/users:{world.user_id}:available"
    assert world.patch(path, {"status": "frozen"}).status_code == 200

    refused = world.command(world.payment(), "capture")

    assert refusal(refused) == (409, "account_frozen")

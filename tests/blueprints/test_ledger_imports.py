"""POST /v1/ledger/import: a file of any size, a batch a commit (LX3)."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from errors import DatabaseUnavailable
from services.posting_batches import PostingBatches
from tests.teller import Teller

if TYPE_CHECKING:
    from collections.abc import Callable

    from werkzeug.test import TestResponse

    from tests.world import World

    Send = Callable[..., Any]

NDJSON = "application/x-ndjson"


@pytest.fixture
def teller(world: World) -> Teller:
    made = Teller(world)
    made.open("bank", "debit")
    made.open("shop")
    return made


@pytest.fixture
def send(world: World) -> Send:
    """Send a file, in pieces if it is an iterator."""

    def post(data: Any, query: str = "", kind: str = NDJSON, **more: Any) -> TestResponse:
        headers = {"Authorization": f"Bearer {more.pop('key', world.api_key)}", **more}
        return world.app.test_client().post(
            f"/v1/ledger/import?{query}", data=data, content_type=kind, headers=headers
        )

    return post


def item(number: int, **more: Any) -> dict[str, Any]:
    leg = {"debit": "bank", "credit": "shop", "amount_minor": number + 1, "currency": "EUR"}
    return {"id": str(uuid.UUID(int=number + 1, version=4)), "legs": [leg], **more}


def lines(items: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in items)


def counts(told: dict[str, Any]) -> list[int]:
    return [told[name] for name in ("read", "created", "existing", "refused")]


def test_a_file_is_posted_once_however_often_it_is_sent(teller: Teller, send: Send) -> None:
    """LX3: NDJSON and CSV; what is there creates nothing."""
    content = lines([item(n) for n in range(5)])
    rows = "".join(f"{item(n)['id']},bank,shop,EUR,{n + 1}\r\n" for n in range(5, 7))
    table = f"id,debit,credit,currency,amount_minor\r\n{rows}"

    first, again = send(content, "batch=2"), send(content)
    of_csv = send(table.encode(), kind="text/csv; charset=utf-8")

    assert (first.status_code, counts(first.json)) == (200, [5, 5, 0, 0])
    assert (again.status_code, counts(again.json)) == (200, [5, 0, 5, 0])
    assert (of_csv.status_code, counts(of_csv.json)) == (200, [2, 2, 0, 0])
    assert teller.balances("shop") == [28]


def test_refusals_name_line_and_pointer(teller: Teller, send: Send) -> None:
    """LX3: the others are posted; with mode=all none of their batch."""
    wrong = item(1)
    wrong["legs"][0]["credit"] = "nowhere"
    content = lines([item(0), wrong, item(2)])

    whole, each = send(content, "mode=all"), send(content)

    assert counts(whole.json) == [3, 0, 0, 3]
    assert counts(each.json) == [3, 2, 0, 1]
    for answer in (whole, each):
        assert answer.json["faults"] == [
            {
                "line": 2,
                "pointer": "/legs/0/credit",
                "code": "account_not_found",
                "detail": "There is no such account: a posting never opens one.",
            }
        ]


def test_a_dry_run_posts_nothing(teller: Teller, send: Send) -> None:
    """LX3."""
    assert counts(send(lines([item(0)]), "dry_run=true").json) == [1, 1, 0, 0]
    assert teller.balances("shop") == [0]


def test_a_file_that_breaks_off_says_how_far_it_came(teller: Teller, send: Send) -> None:
    """LX3: whole batches before it are committed, and the mended file goes on from there."""
    answer = send(lines([item(n) for n in range(4)]) + b"{", "batch=2")

    assert (answer.status_code, answer.json["code"]) == (422, "file_damaged")
    assert answer.json["detail"] == "line 5: The body is not JSON."
    assert counts(answer.json) == [2, 2, 0, 0]


def test_a_store_that_goes_away_says_how_far_it_came(
    teller: Teller, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LX3: 503, with counts."""
    post, calls = PostingBatches.post, []

    def fail(*given: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise DatabaseUnavailable
        return post(*given, **named)

    monkeypatch.setattr(PostingBatches, "post", fail)
    content = lines([item(n) for n in range(4)])

    answer, again = send(content, "batch=2"), send(content)

    assert (answer.status_code, answer.json["created"]) == (503, 2)
    assert counts(again.json) == [4, 2, 2, 0]
    assert teller.balances("shop") == [10]


def test_a_body_that_ends_early_is_no_whole_file(teller: Teller) -> None:
    """LX3: the end of a line is not the end of the file."""
    content = lines([item(0)])
    answer: Any = teller.world.app.test_client().post(
        "/v1/ledger/import",
        data=content,
        content_type=NDJSON,
        headers={"Authorization": f"Bearer {teller.world.api_key}"},
        environ_overrides={"CONTENT_LENGTH": str(len(content) + 50)},
    )

    assert (answer.status_code, answer.json["code"]) == (400, "invalid_json")
    assert teller.balances("shop") == [0]


@pytest.mark.parametrize(
    ("kind", "more"),
    [("application/json", {}), ("", {}), (NDJSON, {"Content-Encoding": "gzip"})],
)
def test_other_content_is_415(send: Send, kind: str, more: dict[str, str]) -> None:
    """LX3: two media types."""
    assert send(b"{}", "", kind, **more).status_code == 415


def test_it_takes_the_scope_of_administrators(world: World, send: Send) -> None:
    """Page, section 9: import is ledger:admin's, corrections among it."""
    key = world.new_api_key(["ledger:post", "ledger:read"])
    assert send(b"", key=key).status_code == 403
    assert counts(send(b"").json) == [0, 0, 0, 0]

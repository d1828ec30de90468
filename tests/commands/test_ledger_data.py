"""`flask ledger-export` and `flask ledger-import`, and the export over HTTP (LX1 to LX3)."""

from __future__ import annotations

import csv
import io
import json
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from commands.ledger_data import ledger_export, ledger_import
from errors import NotSealed
from services.export_lines import ExportLines
from services.ledger_exports import ExportAsk
from services.posting_batches import PostingBatches
from tests.sealing import seal_all, sealing
from tests.teller import Teller

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.world import World

    Flask = Callable[..., Result]


@pytest.fixture
def environment(database: str, tmp_path: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": database,
        "REDIS_URL": "off",
        "VAR_DIR": str(tmp_path),
        "FEATURE_LEDGER_ENABLED": "true",
    }


@pytest.fixture
def load(environment: dict[str, str], tmp_path: Path) -> Flask:
    """Import a file of this content."""

    def run(content: bytes, *arguments: str) -> Result:
        path = tmp_path / "file"
        path.write_bytes(content)
        return CliRunner(env=environment).invoke(ledger_import, [str(path), "--json", *arguments])

    return run


@pytest.fixture
def dump(environment: dict[str, str]) -> Callable[..., bytes]:
    def run(*arguments: str) -> bytes:
        return CliRunner(env=environment).invoke(ledger_export, arguments).stdout_bytes

    return run


def item(number: int, **more: Any) -> dict[str, Any]:
    leg = {"debit": "bank", "credit": "shop", "amount_minor": number + 1, "currency": "EUR"}
    return {"id": str(uuid.UUID(int=number + 1, version=4)), "legs": [leg], **more}


def lines(items: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in items)


def told(result: Result) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(result.stdout)
    return shown


@pytest.fixture
def teller(world: World) -> Teller:
    made = Teller(world)
    made.open("bank", "debit")
    made.open("shop")
    return made


def test_a_file_is_posted_once_however_often_it_is_imported(teller: Teller, load: Flask) -> None:
    """LX3: ids make it resumable."""
    content = lines([item(n) for n in range(7)])

    first, again = load(content, "--batch", "3"), load(content)

    assert (first.exit_code, told(first)["created"], told(first)["existing"]) == (0, 7, 0)
    assert (again.exit_code, told(again)["created"], told(again)["existing"]) == (0, 0, 7)
    assert teller.balances("shop") == [28]


def test_an_import_that_was_stopped_goes_on(
    teller: Teller, load: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LX3: killed between two commits; what was committed is there, the rest comes later."""
    content, post, calls = lines([item(n) for n in range(9)]), PostingBatches.post, []

    def die(*given: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return post(*given, **named)

    monkeypatch.setattr(PostingBatches, "post", die)
    load(content, "--batch", "3")
    half = teller.balances("shop")
    monkeypatch.undo()
    rest = load(content, "--batch", "3")

    assert half == [21]
    assert (told(rest)["existing"], told(rest)["created"], teller.balances("shop")) == (6, 3, [45])


def test_refused_lines_are_named_and_the_others_posted(teller: Teller, load: Flask) -> None:
    """LX3: exit 3; line and pointer."""
    wrong = item(1)
    wrong["legs"][0]["credit"] = "nowhere"
    content = lines([item(0), wrong, {"id": "x"}, item(3)])

    result = load(content, "--batch", "2")

    assert (result.exit_code, told(result)["created"], told(result)["refused"]) == (3, 2, 2)
    faults = [(fault["line"], fault["pointer"]) for fault in told(result)["faults"]]
    assert faults[0] == (2, "/legs/0/credit")
    assert {line for line, _ in faults} == {2, 3}


def test_a_batch_may_be_all_or_none(teller: Teller, load: Flask) -> None:
    """LX3: --mode all."""
    wrong = item(1, kind="nonsense")

    result = load(lines([item(0), wrong, item(2), item(3)]), "--mode", "all", "--batch", "2")

    assert (result.exit_code, told(result)["created"], told(result)["refused"]) == (3, 2, 2)


def test_a_dry_run_posts_nothing(teller: Teller, load: Flask) -> None:
    """LX3."""
    result = load(lines([item(0)]), "--dry-run")

    assert (result.exit_code, teller.balances("shop")) == (0, [0])


@pytest.mark.parametrize(
    ("content", "line"),
    [(b"{\n", "line 1"), (lines([item(0)]) + b"\xff\n", "line 2"), (b'{"leaf": {}}\n', "cut off")],
    ids=["half", "bytes", "export"],
)
def test_a_damaged_file_exits_5(teller: Teller, load: Flask, content: bytes, line: str) -> None:
    """LX3: and says where."""
    result = load(content.replace(b'{"leaf": ', b'{"leaf":'))

    assert result.exit_code == 5
    assert line in told(result)["error"]


def test_legs_of_one_id_are_neighbours_in_csv(teller: Teller, load: Flask) -> None:
    """LX3: a transaction of two legs, and one of one."""
    ids = [uuid.uuid4(), uuid.uuid4()]
    content = (
        "id,reference,debit,credit,currency,amount_minor\r\n"
        f"{ids[0]},'=a,bank,shop,EUR,5\r\n{ids[0]},,bank,shop,EUR,6\r\n{ids[1]},,bank,shop,EUR,7\r\n"
    )

    result = load(content.encode(), "--format", "csv")

    assert (result.exit_code, told(result)["created"], teller.balances("shop")) == (0, 2, [18])
    assert teller.world.get(f"/v1/ledger/transactions/{ids[0]}").json["reference"] == "=a"
    assert load(b"a,b\r\n", "--format", "csv").exit_code == 5


def test_an_export_is_whole_and_the_same_twice(
    teller: Teller, load: Flask, dump: Callable[..., bytes]
) -> None:
    """LX1, LX2: up to the watermark: same request, same bytes, over HTTP too."""
    load(lines([item(n, metadata={"n": str(n)}) for n in range(5)]))
    seal_all(sealing(teller.services.db), "default")

    first, second = dump(), dump()
    reader = ExportLines(io.BytesIO(first))
    documents = list(reader)

    assert first == second == teller.world.get("/v1/ledger/export").data
    posts = [each for each in documents if each["leaf"]["kind"] == "post"]
    assert [each["metadata"] for each in posts] == [{"n": str(n)} for n in range(5)]
    assert [each["index"] for each in documents] == list(range(len(documents)))
    assert reader.end["checkpoint"].startswith("pay.example.com/default\n")


def test_an_export_can_be_imported_elsewhere(
    teller: Teller, load: Flask, dump: Callable[..., bytes]
) -> None:
    """LX3: its transactions, checked to the end of the file; here all of them are there."""
    load(lines([item(n) for n in range(3)]))
    seal_all(sealing(teller.services.db), "default")
    exported = dump()

    again, cut = load(exported), load(exported.rpartition(b'{"end"')[0])

    assert told(again)["refused"] == 3  # The same id, asked for in other words.
    assert {fault["code"] for fault in told(again)["faults"]} == {"transaction_id_reused"}
    assert cut.exit_code == 5


@pytest.mark.parametrize(
    ("what", "count"), [("transactions", 3), ("entries", 6), ("accounts", 2), ("balances", 2)]
)
def test_each_part_of_a_book_is_exported_in_both_formats(
    teller: Teller, load: Flask, dump: Callable[..., bytes], what: str, count: int
) -> None:
    """LX1, LX2: as many records as lines; one of a transaction for each leg."""
    load(lines([item(n) for n in range(3)]))
    seal_all(sealing(teller.services.db), "default")

    ndjson = list(ExportLines(io.BytesIO(dump("--what", what))))
    records = list(csv.DictReader(dump("--what", what, "--format", "csv").decode().splitlines()))

    assert len(ndjson) == len(records) == count
    if what == "balances":
        assert [(each["code"], each["posted_minor"]) for each in ndjson] == [
            ("bank", 6),
            ("shop", 6),
        ]


def test_nothing_final_is_no_export(teller: Teller, dump: Callable[..., bytes]) -> None:
    """LX1: without an end of its own; with one it needs no watermark."""
    assert teller.world.get("/v1/ledger/export").status_code == 409
    found = teller.world.get("/v1/ledger/export?posted_lt=2100-01-01T00:00:00Z")
    assert json.loads(found.data.splitlines()[-1])["count"] == 0
    assert dump() == b""


def test_exports_at_once_are_few(teller: Teller) -> None:
    """Ledger page, section 14: 429 while two run; what ends gives its place back."""
    exports, ask = teller.services.ledger_exports, ExportAsk(posted_lt=datetime.now(UTC))
    for _ in range(3):
        with pytest.raises(NotSealed):
            exports.begin("default", ExportAsk())
    running = [exports.begin("default", ask) for _ in range(2)]

    path = "/v1/ledger/export?posted_lt=2100-01-01T00:00:00Z"
    refused = teller.world.get(path)
    running[0].close()
    taken = [teller.world.get(path).status_code for _ in range(3)]
    running[1].close()

    assert (refused.status_code, refused.json["code"]) == (429, "export_busy")
    assert (refused.headers["Retry-After"], refused.json["retryable"]) == ("1", True)
    assert taken == [200, 200, 200]

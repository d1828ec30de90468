"""Two stores that know each other by the protocol alone: the shop's file, and a follower (T13)."""

from __future__ import annotations

import json
import random
import re
import runpy
import shutil
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from legacy.columns import ColumnMap
from legacy.config_file import load
from legacy.store import RowRejected, RowsRejected
from legacy.stores import open_store
from legacy.stores.memory import MemoryStore
from legacy.stores.sqlite import SqliteStore
from tests.contract.tree import ROOT
from tests.legacy.maps import EXPONENTS, maps
from tests.legacy.maps import shop as example

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from legacy.store import LegacyStore

SHOP = ROOT / "examples" / "legacy-shop"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the example, without a file of the shop's yet."""
    for name in ("shop.py", "legacy.toml"):
        shutil.copy(SHOP / name, tmp_path)
    return tmp_path


def shop(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the shop's program there."""
    command = [sys.executable, "shop.py", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def stores(folder: Path) -> Iterator[dict[str, SqliteStore]]:
    """The prepared stores of a shop of 30 customers, by domain."""
    shop(folder, "seed", "--customers", "30")
    text = (folder / "legacy.toml").read_text("utf-8")
    configs = load(text.replace('"shop.db"', json.dumps(str(folder / "shop.db"))), {})
    made = {
        domain: SqliteStore(ColumnMap(config, "default", EXPONENTS), timeout_ms=20_000)
        for domain, config in configs.items()
    }
    for store in made.values():
        with store._used() as connection:
            connection.executescript(store.prepare_sql())
        store.ping()
    yield made
    for store in made.values():
        store.close()


def copy(truth: LegacyStore, follower: LegacyStore) -> None:
    """Follow every row of the truth, in pages."""
    after = None
    while ids := truth.scan_ids(after, 50):
        for row in truth.get_many(ids).values():
            follower.follow(row)
        after = ids[-1]


def mirror(truth: LegacyStore, follower: LegacyStore) -> int:
    """Follow what was captured, until nothing is left; return how many rows."""
    count = 0
    while batch := truth.tail(20):
        for row in truth.get_many([each.legacy_id for each in batch]).values():
            count += follower.follow(row)
        truth.ack(batch)
    return count


@pytest.mark.parametrize("domain", ["users", "payments"])
def test_a_follower_of_a_live_shop_ends_equal(
    folder: Path, stores: dict[str, SqliteStore], domain: str
) -> None:
    """D1, D21, D23, D30: copied and mirrored while the shop goes on, it ends with equal digests."""
    truth = stores[domain]
    follower = MemoryStore(truth._map)
    seed = str(random.randrange(2**32))
    print(f"seed {seed}")  # noqa: T201 - shown if the test fails.
    command = ["shop.py", "--seed", seed, "traffic", "--operations", "150", "--per-s", "300"]
    with subprocess.Popen(
        [sys.executable, *command], cwd=folder, stdout=subprocess.PIPE, text=True
    ) as running:
        copy(truth, follower)
        while running.poll() is None:
            mirror(truth, follower)
        assert running.returncode == 0
    mirror(truth, follower)
    assert follower.digest(b"") == truth.digest(b"")
    assert follower.count() == truth.count()
    assert follower.hashes(b"\x00") == truth.hashes(b"\x00")


def test_every_row_of_the_shop_is_one_of_ours(stores: dict[str, SqliteStore]) -> None:
    """D42: attach maps samples, and no row of the shop is rejected."""
    for store in stores.values():
        ids = store.scan_ids(None, 1000)
        assert store.get_many(ids).keys() == {*ids}
        assert store.capabilities.capture == "trigger"


def test_the_shop_is_told_of_the_fence(folder: Path, stores: dict[str, SqliteStore]) -> None:
    """D31: it writes nothing; afterwards it goes on."""
    for store in stores.values():
        store.fence()
    before = [store.digest(b"") for store in stores.values()]
    done = shop(folder, "traffic", "--operations", "40")
    assert done.stderr.splitlines()[0] == "refused: strongroom: fenced"
    assert json.loads(done.stdout).keys() == {"refused", "nothing"}
    assert [store.digest(b"") for store in stores.values()] == before
    for store in stores.values():
        store.unfence()
    assert "refused" not in json.loads(shop(folder, "traffic", "--operations", "40").stdout)


def test_a_password_of_the_shop_is_carried_as_it_is(
    folder: Path, stores: dict[str, SqliteStore]
) -> None:
    """D40: what was written back still opens the door over there."""
    store = stores["users"]
    found = store.find("email", "CUSTOMER7@example.org")
    assert found is not None
    assert found.row["legacy_password_hash"].startswith("$2b$04$")
    assert store.follow(type(found)(found.id, 9, {**found.row, "display_name": "Ada"}, "op"))
    assert shop(folder, "login", "customer7@example.org", "password-7").returncode == 0
    assert shop(folder, "login", "customer7@example.org", "password-8").returncode == 3


def test_the_shop_does_what_its_page_says(folder: Path) -> None:
    """Every command of README.md, with the output that stands beside it."""
    page = (SHOP / "README.md").read_text("utf-8")
    steps = re.findall(r"^\$ python shop\.py (.+)\n(\{.*\})$", page, re.MULTILINE)
    assert len(steps) == 5
    for arguments, output in steps:
        assert shop(folder, *arguments.split()).stdout.strip() == output


def test_a_shop_may_hold_rows_that_are_not_ours(
    folder: Path, stores: dict[str, SqliteStore]
) -> None:
    """D25: each is named, and the rest goes on."""
    program = runpy.run_path(str(folder / "shop.py"))
    with closing(program["Shop"](str(folder / "shop.db"))) as made:
        bad = made.sign_up("no address", "password", "Ada")
        made._run("UPDATE payments SET amount = '1.005' WHERE id = 1")
        made._run("UPDATE payments SET currency = 'EURO' WHERE id = 2")
    with pytest.raises(RowRejected, match="email_invalid: email"):
        stores["users"].get_many([str(bad)])
    with pytest.raises(RowsRejected) as caught:
        stores["payments"].get_many(["1", "2", "3"])
    rejected: list[Any] = [(each.id, each.code) for each in caught.value.rejected]
    assert rejected == [("1", "amount_fractional"), ("2", "currency_unknown")]
    assert list(caught.value.rows) == ["3"]


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        ('adapter = "memory"', "MemoryStore"),
        ('adapter = "sqlite"\npath = "shop.db"', "SqliteStore"),
        ('adapter = "postgres"\ndsn_env = "DSN"', "PostgresStore"),
        ('adapter = "postgres"', "PostgresStore"),
        ('adapter = "jsonl"\npath = "{folder}/users.jsonl"', "FileStore"),
    ],
)
def test_the_map_says_which_adapter(folder: Path, lines: str, kind: str) -> None:
    """D42: nothing is connected to before it is asked for something."""
    (folder / "users.jsonl").write_text("")
    text = example(lines.replace("{folder}", str(folder)), ("shop.customers", "shop.orders"))
    text = text if "postgres" in lines else text.replace("shop.", "")
    mapping = maps(text, {"DSN": "postgresql://nobody@127.0.0.1:1/none"})["users"]
    store = open_store(mapping, our_database_url="postgresql://nobody@127.0.0.1:1/ours")
    assert type(store).__name__ == kind
    store.close()

"""`flask ledger-import --restore`: a book as it was, times included, in an empty tenant (LX4)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from commands.ledger_data import ledger_export, ledger_import
from services.ledger_restore import Order
from tests.sealing import KEYS, ORIGIN, seal_all, sealing
from tests.teller import Teller, posting

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.world import World

    Owner = Callable[..., None]
    Dump = Callable[..., bytes]
    Restore = Callable[..., Result]

BOOK = (
    "ledger_holds, ledger_entries, ledger_transactions, ledger_balances, ledger_accounts,"
    " ledger_leaves, ledger_tiles, ledger_seals, ledger_seal_state"
)
WHAT = ("transactions", "entries", "accounts", "balances")


@pytest.fixture
def environment(database: str, tmp_path: Path) -> dict[str, str]:
    import base64  # noqa: PLC0415

    return {
        "DATABASE_URL": database,
        "REDIS_URL": "off",
        "VAR_DIR": str(tmp_path),
        "FEATURE_LEDGER_ENABLED": "true",
        "LEDGER_ORIGIN": ORIGIN,
        "LEDGER_SEAL_KEY": base64.b64encode(KEYS.seeds[0]).decode(),
    }


@pytest.fixture
def dump(environment: dict[str, str]) -> Dump:
    def run(what: str) -> bytes:
        return CliRunner(env=environment).invoke(ledger_export, ["--what", what]).stdout_bytes

    return run


@pytest.fixture
def restore(environment: dict[str, str], tmp_path: Path) -> Restore:
    def run(transactions: bytes, accounts: bytes, **more: str) -> Result:
        paths = [tmp_path / "transactions", tmp_path / "accounts"]
        for path, content in zip(paths, (transactions, accounts), strict=True):
            path.write_bytes(content)
        arguments = [str(paths[0]), "--restore", str(paths[1]), "--json"]
        return CliRunner(env=environment | more).invoke(ledger_import, arguments)

    return run


@pytest.fixture
def teller(world: World, monkeypatch: pytest.MonkeyPatch) -> Teller:
    """A book with something of everything, sealed; what is striped is posted to the second row."""
    made = Teller(world)
    monkeypatch.setattr(made.services.postings._writes, "_stripe", lambda: 1)
    made.open("bank", "debit")
    made.open("shop", floor=-500, owner_user_id=None, metadata={"a": "b"})
    made.open("hot", stripes=3)
    made.post(("bank", "shop", 1_000), ("bank", "hot", 5), metadata={"note": 'a "b" \u00e4'})
    made.post(("shop", "nowhere", 1))
    made.post(("shop", "bank", 99_000))
    made.capture(made.hold("shop", "bank", 100), 40, final=False)
    made.void(made.hold("shop", "hot", 7))
    paid = posting(("bank", "hot", 30), reference="invoice")
    made.send(paid)
    assert paid.id is not None
    made.reverse(paid.id)
    made.change("shop", floor_minor=-100, status="frozen")
    seal_all(sealing(made.services.db), "default")
    return made


def told(result: Result) -> dict[str, Any]:
    assert result.stdout, result.exception
    shown: dict[str, Any] = json.loads(result.stdout)
    return shown


def state(world: World) -> list[Any]:
    """Return what is stored of a book beside its export."""
    return [
        world.rows("SELECT a.code, b.stripe, b.status, b.floor, b.ceiling, b.debits_posted,"
                   " b.credits_posted, b.debits_pending, b.credits_pending, b.version,"
                   " b.last_posted_at::text FROM ledger_balances b JOIN ledger_accounts a"
                   " USING (tenant_id, account_id) ORDER BY 1, 2"),
        world.rows("SELECT hold_id, stripes, amount, remaining, expires_at, created_at"
                   " FROM ledger_holds ORDER BY 1"),
        world.rows("SELECT id, request_id, stripes FROM ledger_transactions ORDER BY 1"),
        world.rows("SELECT idx, tx_id, late FROM ledger_leaves ORDER BY 1"),
        world.rows("SELECT root, note FROM ledger_seals ORDER BY tree_size DESC LIMIT 1"),
    ]  # fmt: skip


def test_a_restored_book_is_the_same_in_every_byte(
    teller: Teller, owner: Owner, dump: Dump, restore: Restore
) -> None:
    """LX4: every export, every balance, hold and leaf; and it can be posted to and sealed."""
    before, stored = [dump(what) for what in WHAT], state(teller.world)
    refused = restore(before[0], before[2])
    owner(f"TRUNCATE {BOOK}")

    done = restore(before[0], before[2])

    assert (refused.exit_code, told(refused)["error"]) == (
        3, "This tenant has a book: restore into an empty one.",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert told(done)["leaves"] == told(done)["signed"] == told(done)["transactions"] > 0
    assert [dump(what) for what in WHAT] == before
    assert state(teller.world) == stored
    assert teller.post(("bank", "hot", 1)) == "created"
    seal_all(sealing(teller.services.db), "default")
    assert teller.world.rows("SELECT stopped_reason FROM ledger_seal_state") == [(None,)]


def test_a_book_that_nobody_has_signed_is_restored_too(
    teller: Teller, owner: Owner, dump: Dump, restore: Restore
) -> None:
    """LX4: its lines are checked by their hash, its leaves by being written and read back."""
    owner("TRUNCATE ledger_seals")
    before = [dump(what) for what in WHAT]
    owner(f"TRUNCATE {BOOK}")

    done = restore(before[0], before[2])

    assert (done.exit_code, told(done)["signed"]) == (0, 0)
    assert [dump(what) for what in WHAT] == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t, a: (t.replace(b"EUR", b"USD", 1), a), "not those that were"),
        (lambda t, a: (t.rpartition(b'{"end"')[0], a), "its last line says no end"),
        (lambda t, a: (t, a.rpartition(b'{"end"')[0]), "accounts: the file is cut off"),
        (lambda t, a: (t, renewed(a.splitlines(True)[:-2], a)), "an account that is not in"),
        (lambda t, a: (renewed(t.splitlines(True)[1:-1], t), a), "leaf 0 is not in it"),
        (
            lambda t, a: (renewed([t.splitlines(True)[0].replace(b"1000", b"1001"),
                                   *t.splitlines(True)[1:-1]], t), a),
            "are not those that were signed",
        ),
        (
            lambda t, a: (t, renewed([x.replace(b'"stripes" : 3', b'"stripes" : 1')
                                      for x in a.splitlines(True)[:-1]], a)),
            "a stripe that no account has",
        ),
    ],
    ids=["bytes", "cut", "accounts-cut", "account", "part", "forged", "stripes"],
)  # fmt: skip
def test_what_is_not_the_whole_book_is_refused_and_leaves_nothing(
    teller: Teller, owner: Owner, dump: Dump, restore: Restore, change: Any, said: str
) -> None:
    """LX4: exit 5, whatever somebody has done to the files; the tenant stays empty."""
    files = change(dump("transactions"), dump("accounts"))
    owner(f"TRUNCATE {BOOK}")

    result = restore(*files)

    assert (result.exit_code, said in told(result)["error"]) == (5, True), result.output
    assert teller.world.rows("SELECT 1 FROM ledger_accounts") == []


def test_another_tenants_book_is_not_this_ones(
    teller: Teller, dump: Dump, restore: Restore
) -> None:
    """LX4: the tenant stands in each leaf, and in the name of the key."""
    teller.services.tenants.create("other", "Other", "cli:test")

    result = restore(dump("transactions"), dump("accounts"), DEFAULT_TENANT="other")

    assert (result.exit_code, "not signed by the key" in told(result)["error"]) == (5, True)


def renewed(lines: list[bytes], exported: bytes) -> bytes:
    """Return lines with an end that fits them, as a forger would."""
    from hashlib import sha256  # noqa: PLC0415

    end = json.loads(exported.splitlines()[-1])
    whole = b"".join(lines)
    end |= {"count": len(lines), "sha256": sha256(whole).hexdigest()}
    return whole + json.dumps(end).encode() + b"\n"


@pytest.mark.parametrize(
    ("places", "late"),
    [
        ([0, 1, 2], []),
        ([0, 3, 1, 2, 4], [3]),
        ([4, 0, 3, 1, 2, 5], [4, 3]),
        ([0, None, 1], []),
        ([2, 1, 0], [2, 1]),
    ],
)
def test_a_leaf_is_late_if_one_before_it_is_posted_after_it(
    places: list[int | None], late: list[int]
) -> None:
    """LT6, LX4: so the flag need not stand in the file."""
    order = Order()

    assert [each for each in places if order.is_late(each)] == late
    assert order.size == sum(each is not None for each in places)

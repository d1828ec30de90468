"""`flask verify-proof`: what holds, what does not, and what it cannot read (LM10)."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from click.testing import CliRunner, Result

from commands.proofs import verify_proof
from services import merkle
from services.canonical_json import canonical, digest
from services.checkpoints import SealKeys
from services.signed_notes import SigningKey, encoded, signed
from tests.services.test_export_lines import end

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Verify = Callable[..., Result]

KEYS = SealKeys(origin="pay.example.com", seeds=(bytes(range(32)),))
(KEY,) = KEYS.signing("acme")
OTHERS = SealKeys(origin="pay.example.com", seeds=(bytes(32),))
COUNT = 11
UNTIL = "2026-01-01T00:00:10.000000Z"


def leaf(number: int) -> dict[str, Any]:
    return {
        "id": str(UUID(int=number)),
        "v": 1,
        "posted_at": f"2026-01-01T00:00:{number:02}.000000Z",
        "metadata_sha256": digest({"n": str(number)}).hex(),
    }


HASHES = [merkle.leaf_hash(canonical(leaf(number))) for number in range(COUNT)]


def read(height: int, n: int) -> bytes:
    return merkle.whole_hash(HASHES[n << height : (n + 1) << height])


def checkpoint(size: int, keys: SealKeys = KEYS) -> str:
    return keys.sign_checkpoint("acme", size, merkle.root(read, size))


def proof(index: int, size: int) -> dict[str, Any]:
    path = merkle.inclusion(read, index, size)
    return {
        "leaf": leaf(index),
        "leaf_hash": encoded(HASHES[index]),
        "index": index,
        "tree_size": size,
        "hashes": [encoded(each) for each in path],
        "checkpoint": checkpoint(size),
    }


def consistency(first: int, second: int) -> dict[str, Any]:
    path = merkle.consistency(read, first, second)
    return {
        "from_size": first,
        "to_size": second,
        "hashes": [encoded(each) for each in path],
        "checkpoints": [checkpoint(first), checkpoint(second)],
    }


def receipt(number: int, hashed: bytes | None = None, keys: SealKeys = KEYS) -> str:
    posted_at = leaf(number)["posted_at"]
    return keys.sign_receipt("acme", UUID(int=number), hashed or HASHES[number], posted_at)


def export(size: int = COUNT, note: str | None = "", **changes: Any) -> bytes:
    lines = []
    for number in changes.get("order", range(size)):
        line = {"leaf": leaf(number), "metadata": {"n": str(number)}, "index": number}
        lines.append(json.dumps(line | changes.get(f"line_{number}", {})).encode() + b"\n")
    shown = checkpoint(size) if note == "" else note
    return b"".join([*lines, end(lines, sealed_through=UNTIL, checkpoint=shown)])


@pytest.fixture
def verify(tmp_path: Path) -> Verify:
    """Run the command; what is no option's value yet is written into a file first."""

    def run(*, key: str = str(KEY), **given: Any) -> Result:
        arguments = ["--key", _file(tmp_path, "key", key)]
        for name, values in given.items():
            for place, value in enumerate(values if isinstance(values, list) else [values]):
                path = _file(tmp_path, f"{name}-{place}", value)
                arguments += [f"--{name}", path]
        return CliRunner().invoke(verify_proof, arguments)

    return run


def _file(folder: Path, name: str, value: Any) -> str:
    path = folder / name
    data = value if isinstance(value, bytes | str) else json.dumps(value)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return str(path)


# --- What holds ---------------------------------------------------------------------------------


def test_a_signed_checkpoint_is_good(verify: Verify) -> None:
    """LM5."""
    result = verify(checkpoint=checkpoint(7))
    assert result.exit_code == 0
    assert result.stdout == "good: checkpoint: pay.example.com/acme, 7 leaves\n"


@pytest.mark.parametrize("size", range(1, COUNT + 1))
def test_every_transaction_is_shown_to_be_in_the_tree(verify: Verify, size: int) -> None:
    """LM2, LM10: with its receipt, under the same key."""
    index = random.Random(size).randrange(size)
    result = verify(proof=proof(index, size), checkpoint=checkpoint(size), receipt=receipt(index))
    assert result.exit_code == 0, result.stderr
    assert f"transaction {UUID(int=index)} is leaf {index} of {size}" in result.stdout


@pytest.mark.parametrize("first", range(1, COUNT + 1))
def test_a_later_tree_is_shown_to_continue_the_earlier(verify: Verify, first: int) -> None:
    """LM4."""
    result = verify(
        checkpoint=checkpoint(COUNT), previous=checkpoint(first), proof=consistency(first, COUNT)
    )
    assert result.exit_code == 0, result.stderr


def test_an_export_shows_all_of_it_at_once(verify: Verify) -> None:
    """LX2, LM10: each leaf, the tree of every checkpoint, and a receipt's transaction."""
    result = verify(
        export=export(), checkpoint=checkpoint(COUNT), previous=checkpoint(4), receipt=receipt(3)
    )
    assert result.exit_code == 0, result.stderr
    assert "11 transactions, of which 11 are sealed" in result.stdout
    assert "the trees of 4 and of 11 leaves are one" in result.stdout


def test_late_leaves_stand_where_they_were_posted(verify: Verify) -> None:
    """LT6: their place in the tree is another one."""
    assert verify(export=export(order=[0, 1, 9, 2, 3, 10, 4, 5, 6, 7, 8])).exit_code == 0


def test_what_is_not_sealed_yet_or_redacted_is_in_an_export_too(verify: Verify) -> None:
    """LX2, LM9."""
    lines = export(note=checkpoint(10), line_10={"index": None}, line_2={"metadata": None})
    result = verify(export=lines)
    assert result.exit_code == 0, result.stderr
    assert "11 transactions, of which 10 are sealed" in result.stdout


def test_keys_may_be_the_answer_of_the_service(verify: Verify) -> None:
    """Section 9: /v1/ledger/keys, or lines."""
    answer = json.dumps({"data": [{"checkpoint_key": str(KEY), "receipt_key": "x"}]})
    assert verify(key=answer, checkpoint=checkpoint(3)).exit_code == 0
    (other,) = OTHERS.signing("acme")
    assert verify(key=f"{other}\n{KEY}\n", checkpoint=checkpoint(3)).exit_code == 0


def test_json_says_what_holds(verify: Verify, tmp_path: Path) -> None:
    """Section 4 of architecture: one object."""
    paths = [_file(tmp_path, "k", str(KEY)), _file(tmp_path, "c", checkpoint(3))]
    result = CliRunner().invoke(
        verify_proof, ["--key", paths[0], "--checkpoint", paths[1], "--json"]
    )
    assert json.loads(result.stdout) == {
        "good": True,
        "shown": ["checkpoint: pay.example.com/acme, 3 leaves"],
        "reason": None,
        "exit_code": 0,
    }


# --- What is false ------------------------------------------------------------------------------

ZERO = encoded(bytes(32))
FALSE: dict[str, dict[str, Any]] = {
    "another key": {"checkpoint": checkpoint(3, OTHERS)},
    "another size": {"checkpoint": checkpoint(3).replace("\n3\n", "\n4\n")},
    "another tenant": {"checkpoint": KEYS.sign_checkpoint("other", 3, bytes(32))},
    "a fork": {"checkpoint": KEYS.sign_checkpoint("acme", 3, bytes(32)), "previous": checkpoint(3)},
    "another leaf": {"proof": proof(2, 7) | {"leaf": leaf(3)}},
    "a changed leaf": {"proof": proof(2, 7) | {"leaf": leaf(2) | {"actor": "x"}}},
    "another index": {"proof": proof(2, 7) | {"index": 3}},
    "another path": {"proof": proof(2, 7) | {"hashes": [ZERO, ZERO, ZERO]}},
    "another checkpoint": {"proof": proof(2, 7) | {"checkpoint": checkpoint(8)}},
    "a path that does not lead there": {"proof": consistency(3, 7) | {"hashes": [ZERO]}},
    "checkpoints in the wrong order": {
        "proof": consistency(3, 7) | {"checkpoints": [checkpoint(7), checkpoint(3)]}
    },
    "a receipt of another key": {"receipt": receipt(3, keys=OTHERS)},
    "a receipt of another leaf": {"receipt": receipt(3, bytes(32)), "proof": proof(3, 7)},
    "a receipt as a checkpoint": {"checkpoint": receipt(3)},
    "a receipt under the wrong name": {
        "receipt": signed(
            receipt(3).partition("\n\n")[0] + "\n",
            [SigningKey(name=KEY.name, seed=KEYS.seeds[0])],
        )
    },
    "an export of other leaves": {"export": export(line_3={"leaf": leaf(3) | {"v": 2}})},
    "an export with other metadata": {"export": export(line_3={"metadata": {"n": "4"}})},
    "an export in another order": {
        "export": export(line_3={"index": 4}, line_4={"index": 3}),
    },
    "an export that is too short": {"export": export(5), "checkpoint": checkpoint(7)},
    "an export without what a receipt binds": {
        "export": export(5, checkpoint(5)),
        "receipt": receipt(7),
    },
    "an export with another than the receipt": {
        "export": export(),
        "receipt": receipt(7, bytes(32)),
    },
}


@pytest.mark.parametrize("name", FALSE)
def test_what_does_not_hold_exits_3(verify: Verify, name: str) -> None:
    """LM10: each of them is told, and never taken for good."""
    result = verify(**FALSE[name])
    assert result.exit_code == 3, result.output
    assert result.stderr.startswith("false: ")


# --- What cannot be told ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        {"checkpoint": "x"},
        {"checkpoint": b"\xff"},
        {"receipt": "x"},
        {"receipt": checkpoint(3)},
        {"proof": "{"},
        {"proof": "[]"},
        {"proof": "{}"},
        {"proof": proof(2, 7) | {"index": "2"}},
        {"proof": proof(2, 7) | {"hashes": ["x"]}},
        {"proof": proof(2, 7) | {"leaf": {"x": 1.5}}},
        {"export": b""},
        {"export": export().rpartition(b"{")[0]},
        {"export": export()[:-40]},
        {"export": b'{"n": 1}\n' + end([b'{"n": 1}\n'], checkpoint=checkpoint(1))},
        {"key": "x", "checkpoint": checkpoint(3)},
        {"key": "", "checkpoint": checkpoint(3)},
        {"key": '{"data": [{}]}', "checkpoint": checkpoint(3)},
    ],
    ids=str,
)
def test_what_is_unreadable_exits_4(verify: Verify, given: dict[str, Any]) -> None:
    """LM10: nothing is known."""
    result = verify(**given)
    assert (result.exit_code, result.stdout) == (4, "")


def test_a_file_that_is_not_there_exits_4(tmp_path: Path) -> None:
    """LM10."""
    key = _file(tmp_path, "key", str(KEY))
    for option in ("--checkpoint", "--export", "--proof"):
        result = CliRunner().invoke(verify_proof, ["--key", key, option, str(tmp_path / "none")])
        assert result.exit_code == 4


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"checkpoint": checkpoint(7), "previous": checkpoint(3)},
        {"checkpoint": checkpoint(7), "proof": proof(2, 5)},
        {"export": export(note=None)},
        {"export": export(7, order=[3, 4, 5, 6])},
    ],
    ids=["nothing", "no link", "no link to a proof", "no checkpoint", "a part"],
)
def test_what_does_not_suffice_exits_2(verify: Verify, given: dict[str, Any]) -> None:
    """LM10: it says what to add."""
    assert verify(**given).exit_code == 2

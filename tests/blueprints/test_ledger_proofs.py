"""Seals and proofs over HTTP: media types, refusals, bytes (ledger page, sections 9 and 12)."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from tests import second_opinion
from tests.sealing import KEYS, ORIGIN, seal_all, sealing
from tests.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from services.seals import Seals

NOBODYS = UUID("0198c2a4-7a3c-7e0e-8d5c-4b7d8f1a2b3c")


@pytest.fixture
def world(database: str, tmp_path: Path) -> Iterator[World]:
    seed = base64.b64encode(KEYS.seeds[0]).decode()
    made = World(database, tmp_path, LEDGER_SEAL_KEY=seed, LEDGER_ORIGIN=ORIGIN)
    yield made
    made.close()


@pytest.fixture
def seals(world: World) -> Seals:
    return sealing(world.services.db)


def captured(world: World) -> str:
    """Capture a payment and return its ledger transaction's id."""
    world.command(world.payment(5000), "capture")
    ((tx_id,),) = world.rows("SELECT id FROM ledger_transactions ORDER BY posted_at DESC LIMIT 1")
    return str(tx_id)


def test_a_capture_can_be_proved(world: World, seals: Seals) -> None:
    """LM5: what is answered is enough to check it, with the key that is answered too."""
    tx_id = captured(world)
    early = world.get(f"/v1/ledger/transactions/{tx_id}/proof")
    assert (early.status_code, early.json["code"], early.json["retryable"]) == (
        409, "not_sealed", True,
    )  # fmt: skip
    seal_all(seals, "default")

    proof = world.get(f"/v1/ledger/transactions/{tx_id}/proof").json
    (key,) = world.get("/v1/ledger/keys").json["data"]

    origin, size, root = second_opinion.opened_note(proof["checkpoint"], key["checkpoint_key"])
    assert (origin, int(size)) == (f"{ORIGIN}/default", proof["tree_size"])
    leaf = second_opinion.leaf_bytes(proof["leaf"])
    path = [base64.b64decode(each) for each in proof["hashes"]]
    found = second_opinion.root_of_path(proof["index"], proof["tree_size"], leaf, path)
    assert base64.b64encode(found).decode() == root


def test_notes_are_plain_text(world: World, seals: Seals) -> None:
    """Section 9: byte for byte as they were signed."""
    tx_id = captured(world)
    seal_all(seals, "default")
    for path in ("/v1/ledger/checkpoint", f"/v1/ledger/transactions/{tx_id}/receipt"):
        answer = world.get(path)
        assert answer.status_code == 200
        assert answer.content_type == "text/plain; charset=utf-8"
        assert answer.text.startswith(f"{ORIGIN}/default\n")
        assert "\n\n\u2014 " in answer.text


def test_checkpoints_lead_from_one_to_the_next(world: World, seals: Seals) -> None:
    """LM4."""
    for _ in range(2):
        captured(world)
        seal_all(seals, "default")
    sizes = [each["tree_size"] for each in world.get("/v1/ledger/checkpoints").json["data"]]
    assert sizes == [2, 1]
    found = world.get("/v1/ledger/consistency?from=1&to=2").json
    assert (found["from_size"], found["to_size"], len(found["checkpoints"])) == (1, 2, 2)
    assert world.get("/v1/ledger/consistency?from=1").json == found


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/ledger/checkpoint", 409, "not_sealed"),
        ("/v1/ledger/checkpoint?tree_size=7", 404, "not_found"),
        ("/v1/ledger/checkpoint?tree_size=0", 422, "validation_failed"),
        ("/v1/ledger/checkpoints?cursor=x", 400, "cursor_invalid"),
        ("/v1/ledger/consistency", 422, "validation_failed"),
        ("/v1/ledger/consistency?from=1", 404, "not_found"),
        ("/v1/ledger/consistency?from_=1", 422, "validation_failed"),
        (f"/v1/ledger/transactions/{NOBODYS}/proof", 404, "not_found"),
        (f"/v1/ledger/transactions/{NOBODYS}/receipt", 404, "not_found"),
        ("/v1/ledger/transactions/x/proof", 404, "not_found"),
    ],
)
def test_refusals_have_their_codes(world: World, path: str, status: int, code: str) -> None:
    """Section 9."""
    answer = world.get(path)
    assert (answer.status_code, answer.json["code"]) == (status, code)


def test_receipts_are_off_without_a_key(database: str, tmp_path: Path) -> None:
    """Section 14."""
    world = World(database, tmp_path)
    answer = world.get(f"/v1/ledger/transactions/{captured(world)}/receipt")
    assert (answer.status_code, answer.json["code"]) == (404, "feature_disabled")
    world.close()

"""kill -9 in the middle of an import: it goes on where it was, and nothing is posted twice (LX3).

FAULT_KILLS sets the number of kills, FAULT_SEED repeats a run.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING

from tests.conftest import ROOT
from tests.teller import Teller

if TYPE_CHECKING:
    from pathlib import Path

    from tests.world import World

KILLS = int(os.environ.get("FAULT_KILLS", "2"))
SEED = int(os.environ.get("FAULT_SEED", str(random.randrange(10**6))))
BATCH, STEP = 10, 60
# As long as they may be: a busy machine ends no import.
PATIENCE = {
    "DB_POOL_TIMEOUT_MS": "60000",
    "DB_CONNECT_TIMEOUT_S": "60",
    "DB_LOCK_TIMEOUT_MS": "5500",
    "DB_STATEMENT_TIMEOUT_MS": "6000",
    "DB_TRANSACTION_TIMEOUT_MS": "6500",
    "DB_IDLE_TRANSACTION_TIMEOUT_MS": "6500",
    "REQUEST_DEADLINE_MS": "6900",
}
COUNT = STEP * (KILLS + 2)


def test_a_killed_import_goes_on_where_it_was(world: World, database: str, tmp_path: Path) -> None:
    """LX3, LI6: whole batches are there after each kill, and in the end each line once."""
    sys.stderr.write(f"FAULT_SEED={SEED}\n")
    teller, chance = Teller(world), random.Random(SEED)
    teller.open("bank", "debit")
    teller.open("shop")
    path = tmp_path / "payouts.ndjson"
    path.write_text("".join(line(number) for number in range(COUNT)))
    environment = {
        **os.environ,
        "DATABASE_URL": database,
        "REDIS_URL": "off",
        "VAR_DIR": str(tmp_path),
        "FEATURE_LEDGER_ENABLED": "true",
        **PATIENCE,
    }
    command = [
        *(sys.executable, "-m", "flask", "ledger-import", str(path)),
        *("--batch", str(BATCH), "--json"),
    ]
    for kill in range(KILLS):
        goal = kill * STEP + chance.randrange(BATCH, STEP, BATCH)
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as running:
            assert wait_until_read(running, goal)
            running.kill()
        (posted,) = world.rows("SELECT count(*) FROM ledger_transactions")[0]
        assert posted % BATCH == 0
        assert goal <= posted <= COUNT

    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)

    report = json.loads(done.stdout)
    assert (report["read"], report["refused"]) == (COUNT, 0)
    assert report["existing"] >= goal
    assert teller.count() == COUNT
    assert teller.balances("bank", "shop") == [sum(range(1, COUNT + 1))] * 2


def line(number: int) -> str:
    """Return a transaction of number + 1 cents."""
    leg = {"debit": "bank", "credit": "shop", "amount_minor": number + 1, "currency": "EUR"}
    return json.dumps({"id": str(uuid.UUID(int=number + 1, version=4)), "legs": [leg]}) + "\n"


def wait_until_read(running: subprocess.Popen[bytes], goal: int) -> bool:
    """Return when the import says that it has committed so many; False: it ended before."""
    assert running.stderr is not None
    said = b""
    while piece := os.read(running.stderr.fileno(), 65_536):
        said += piece
        read = [int(each.replace(b",", b"")) for each in re.findall(rb"\r([\d,]+) read", said)]
        if read and read[-1] >= goal:
            return True
    sys.stderr.write(said.decode(errors="replace"))
    return False

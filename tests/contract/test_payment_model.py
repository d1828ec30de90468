"""Random commands over HTTP against a payment in plain Python: the same outcome at each step.

STATEFUL_EXAMPLES and STATEFUL_STEPS make it longer (10,000 steps in all: 200 of 50), and
STATEFUL_SEED repeats a run. After each example every query of sql/checks must return no row; with
STATEFUL_CHECK=step after each step.
"""

from __future__ import annotations

import os
import random
import sys
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import hypothesis.core
import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from persistence import sql_files
from services.jobs import Ask, Run
from services.payment_jobs import PaymentJobSettings, expire_payments
from tests.payment_model import ModelPayment, Wallet
from tests.world import new_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.world import Reply, World

pytestmark = pytest.mark.database  # Runs on 16 too.

EXAMPLES = int(os.environ.get("STATEFUL_EXAMPLES", "20"))
STEPS = int(os.environ.get("STATEFUL_STEPS", "30"))
SEED = int(os.environ.get("STATEFUL_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
EACH_STEP = os.environ.get("STATEFUL_CHECK") == "step"
# Small, so that commands meet each other's limits; 0 is "all that is left".
AMOUNTS = st.one_of(st.just(0), st.integers(1, 3), st.integers(1, 13))
# How far a payment has come when it is made: most of what can happen comes after a capture.
STAGES = st.sampled_from(["created", "authorized", "captured", "captured", "in part", "in part"])
PAYMENTS_MAX = 5
MOST_ENDED_VERSION = 3  # Cancelling what has come far is refused; once in a while is enough.
CHECKS = sorted(sql_files.ROOT.glob("checks/*.sql"))


@dataclass
class Pair:
    """A payment, and what it must be."""

    payment_id: str
    model: ModelPayment
    dispute_ids: list[str] = field(default_factory=list)

    @property
    def is_lapsed(self) -> bool:
        """Whether the job shall end it."""
        return self.model.overdue and self.model.capturable > 0


def body_of(**given: Any) -> dict[str, Any]:
    """Return a body without what is left out: None, and amounts of 0."""
    return {name: value for name, value in given.items() if value not in {None, 0}}


class Payments(RuleBasedStateMachine):
    """One user's payments. `world` and the calls are set by the test."""

    world: World
    lapse: Callable[[str], None]
    check: Callable[[], None]
    stored: Callable[[str], dict[str, Any]]
    pairs = Bundle("pairs")

    def __init__(self) -> None:
        super().__init__()
        self.wallet = Wallet()
        self.user_id = str(self.world.new_user().id)
        self.known: list[Pair] = []
        self.last: tuple[str, dict[str, Any], str, Reply] | None = None

    def send(self, path: str, body: dict[str, Any], expected: str | None) -> Reply:
        """Send a command; it must have the model's outcome."""
        key = new_key()
        answer = self.world.post(path, body, key=key)
        found = None if answer.status_code < 300 else answer.json["code"]
        assert found == expected, (path, body, answer.json)
        if found is None:
            self.last = (path, body, key, answer)
        return answer

    @precondition(lambda self: len(self.known) < PAYMENTS_MAX)
    @rule(
        target=pairs,
        amount=st.integers(2, 12),
        method=st.sampled_from(["manual", "manual_multiple", "automatic"]),
        stage=STAGES,
    )
    def create(self, amount: int, method: str, stage: str) -> Pair:
        method = "manual_multiple" if stage == "in part" else method
        given = {"user_id": self.user_id, "currency": "EUR", "capture_method": method}
        answer = self.send("/v1/payments", {**given, "amount_minor": amount}, None)
        pair = Pair(answer.json["id"], ModelPayment(amount, method, self.wallet))
        self.known.append(pair)
        if stage in {"authorized", "in part"}:
            self.authorize(pair, 0)
        if stage in {"captured", "in part"}:
            self.capture(pair, amount // 2 if stage == "in part" else 0, 1, None)
        return pair

    @rule(pair=pairs, asked=AMOUNTS)
    def authorize(self, pair: Pair, asked: int) -> None:
        path = f"/v1/payments/{pair.payment_id}/authorize"
        self.send(path, body_of(amount_minor=asked), pair.model.authorize(asked))

    @rule(pair=pairs, asked=AMOUNTS, fee=st.integers(0, 3), final=st.sampled_from([None, True]))
    def capture(self, pair: Pair, asked: int, fee: int, final: bool | None) -> None:
        path = f"/v1/payments/{pair.payment_id}/capture"
        body = body_of(amount_minor=asked, fee_minor=fee, final=final)
        self.send(path, body, pair.model.capture(asked, fee, final))

    @rule(pair=pairs)
    def void(self, pair: Pair) -> None:
        self.send(f"/v1/payments/{pair.payment_id}/void", {}, pair.model.void())

    @rule(
        pair=pairs.filter(lambda pair: pair.model.version < MOST_ENDED_VERSION),
        name=st.sampled_from(["cancel", "fail"]),
    )
    def end(self, pair: Pair, name: str) -> None:
        body = {"failure_code": "declined"} if name == "fail" else {}
        reason = {"cancel": "cancelled", "fail": "failed"}[name]
        self.send(f"/v1/payments/{pair.payment_id}/{name}", body, pair.model.end(reason))

    @rule(pair=pairs, asked=AMOUNTS, fee=st.integers(0, 3), forced=st.booleans())
    def refund(self, pair: Pair, asked: int, fee: int, forced: bool) -> None:
        path = f"/v1/payments/{pair.payment_id}/refunds"
        body = body_of(amount_minor=asked, fee_minor=fee) | {"allow_negative": forced}
        self.send(path, body, pair.model.refund(asked, fee, forced=forced))

    @rule(pair=pairs, asked=AMOUNTS)
    def dispute(self, pair: Pair, asked: int) -> None:
        path = f"/v1/payments/{pair.payment_id}/disputes"
        body = body_of(amount_minor=asked) | {"reason": "fraud", "reference": new_key()}
        expected = pair.model.dispute(asked)
        answer = self.send(path, body, expected)
        if expected is None:
            pair.dispute_ids.append(answer.json["id"])

    @rule(
        pair=pairs.filter(lambda pair: bool(pair.dispute_ids)),
        pick=st.integers(0, 99),
        outcome=st.sampled_from(["won", "lost"]),
        fee=st.integers(0, 2),
    )
    def resolve(self, pair: Pair, pick: int, outcome: str, fee: int) -> None:
        number = pick % len(pair.dispute_ids)
        path = f"/v1/disputes/{pair.dispute_ids[number]}/resolve"
        expected = pair.model.resolve(number, outcome, fee)
        self.send(path, body_of(outcome=outcome, fee_minor=fee), expected)

    @rule(pair=pairs.filter(lambda pair: pair.model.capturable > 0))
    def time_passes(self, pair: Pair) -> None:
        type(self).lapse(pair.payment_id)
        pair.model.overdue = True

    @precondition(lambda self: any(pair.is_lapsed for pair in self.known))
    @rule()
    def expire(self) -> None:
        asked = Run(ask=Ask(), stop=NEVER, batch_max=100)
        list(expire_payments(self.world.services.db, NO_WARNING, asked))
        for pair in self.known:
            if pair.is_lapsed:
                assert pair.model.void("expired") is None

    @precondition(lambda self: self.last is not None)
    @rule()
    def repeat(self) -> None:
        """What was done is told once more, whatever was asked for since."""
        assert self.last is not None
        path, body, key, first = self.last
        again = self.world.post(path, body, key=key)
        assert (again.data, again.headers["Idempotent-Replayed"]) == (first.data, "true")
        self.last = None

    @invariant()
    def each_payment_is_what_the_model_says(self) -> None:
        stored = type(self).stored(self.user_id)
        for pair in self.known:
            shown, model = stored[pair.payment_id], pair.model
            assert {name: shown[f"{name}_minor"] for name in NAMES} == {
                name: getattr(model, name) for name in NAMES
            }
            assert (shown["status"], shown["version"]) == (model.status, model.version)
            assert shown["end_reason"] == model.end_reason
        if EACH_STEP:
            type(self).check()

    def teardown(self) -> None:
        type(self).check()


NAMES = (
    *("authorized", "captured", "voided", "refunded", "disputed", "charged_back"),
    *("fee", "fee_refunded"),
)
STORED = "SELECT id::text, payment_json(p) FROM payments AS p WHERE user_id = %s"
NO_WARNING = PaymentJobSettings(expiry_warning_s=0)
NEVER = threading.Event()


def test_random_commands_do_what_the_plain_model_does(
    world: World,
    lapse: Callable[[str], None],
    database_admin: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """P6 to P11, P31, P32, P34, K6: states, amounts, refusals, and the book behind them."""
    sys.stderr.write(f"STATEFUL_SEED={SEED}\n")
    monkeypatch.setattr(hypothesis.core, "global_force_seed", SEED)
    with psycopg.connect(database_admin, autocommit=True) as conn:

        def check() -> None:
            broken = {path.stem: conn.execute(path.read_bytes()).fetchall() for path in CHECKS}
            assert {name: rows for name, rows in broken.items() if rows} == {}

        def stored(user_id: str) -> dict[str, Any]:
            return dict(conn.execute(STORED, [user_id]).fetchall())

        calls: dict[str, Callable[..., Any]] = {"lapse": lapse, "check": check, "stored": stored}
        unbound = {name: staticmethod(call) for name, call in calls.items()}
        machine = type("Machine", (Payments,), {"world": world, **unbound})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                phases=[Phase.generate, Phase.shrink],
                suppress_health_check=list(HealthCheck),
            ),
        )

"""A public list of 49 scenarios for the Idempotency-Key header, told again over our routes.

It is `tests/spec/idempotency.feature` of idempot-dev/idempot-js. Its endpoint makes an order of a
body; ours makes a payment. 200 is our route's own 2xx, `x-idempotent-replayed` is
`Idempotent-Replayed`, an empty body is that of void. We have no PUT and no DELETE: 405, and no
record. Six of the 49 want 409 where one body comes under two keys: ours are two payments, on
purpose (docs/payments.md says why).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pytest

from app import create_app
from config import Config
from tests.world import World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.world import Reply

KEY, OTHER_KEY = "abc123456789012345678", "key2-12345678901234567"


@dataclass
class Scene:
    """What a scenario has to play with."""

    world: World
    path: str = "/v1/payments"

    def post(self, key: str | None = KEY, amount_minor: int = 1099) -> Reply:
        """Send the request that makes a payment, without a key if it is None."""
        body = {"amount_minor": amount_minor, "currency": "EUR", "user_id": self.world.user_id}
        return self.world.post(self.path, body, key=key, keyed=key is not None)

    @property
    def payments(self) -> int:
        """How many payments there are."""
        ((count,),) = self.world.rows("SELECT count(*) FROM payments")
        return int(count)

    def records(self, key: str = KEY) -> list[tuple[Any, ...]]:
        """Return what is stored under a key: kind, status, answer."""
        return self.world.rows(
            "SELECT kind::text, status, answer FROM idempotency_keys WHERE key = %s", key
        )


# --- What happens --------------------------------------------------------------------------------


def without_a_key(scene: Scene) -> Reply:
    return scene.post(key=None)


def with_an_empty_key(scene: Scene) -> Reply:
    return scene.post(key="")


def with_a_long_key(scene: Scene) -> Reply:
    return scene.post(key="x" * 256)


def with_commas_in_the_key(scene: Scene) -> Reply:
    return scene.post(key="key,with,commas,longer-than-twenty-chars")


def with_a_uuid(scene: Scene) -> Reply:
    return scene.post(key="8e03978e-40d5-43e8-bc93-6894a57f9324")


def once(scene: Scene) -> Reply:
    return scene.post()


def twice(scene: Scene) -> Reply:
    scene.post()
    return scene.post()


def four_times(scene: Scene) -> Reply:
    return [scene.post() for _ in range(4)][-1]


def one_body_under_two_keys(scene: Scene) -> Reply:
    scene.post()
    return scene.post(key=OTHER_KEY)


def two_bodies_under_one_key(scene: Scene) -> Reply:
    scene.post()
    return scene.post(amount_minor=7)


def while_the_first_runs(scene: Scene) -> Reply:
    scope = scene.world.services.credentials.authenticate(scene.world.api_key, "").subject
    scene.world.services.kv.claim(f"idem:{{default/{scope}}}:{KEY}", b"m-of-another", 5_000)
    return scene.post()


def by(method: str) -> Callable[[Scene], Reply]:
    def send(scene: Scene) -> Reply:
        headers = {"Authorization": f"Bearer {scene.world.api_key}", "Idempotency-Key": KEY}
        answer = scene.world.app.test_client().open(
            scene.path, method=method, headers=headers, json=None if method == "GET" else {}
        )
        return cast("Reply", answer)

    return send


def with_no_body(scene: Scene) -> Reply:
    payment_id = scene.world.authorized()
    headers = {"Authorization": f"Bearer {scene.world.api_key}", "Idempotency-Key": KEY}
    path = f"/v1/payments/{payment_id}/void"
    return cast("Reply", scene.world.app.test_client().post(path, headers=headers))


def by_patch(scene: Scene) -> Reply:
    path = f"/v1/payments/{scene.world.payment()}"
    return scene.world.patch(path, {"description": "x"}, Idempotency_Key=KEY)


# --- What is expected ----------------------------------------------------------------------------


def is_problem(status: int, section: str = "") -> Any:
    """A problem document, which names the section of the draft that it is about."""
    return lambda _, answer: (
        answer.status_code == status
        and answer.content_type == "application/problem+json"
        and {"type", "title", "detail"} <= set(answer.json)
        and answer.json.get("see", "").endswith(f"#section-{section}" if section else "")
    )


def has_instance(_: Scene, answer: Reply) -> bool:
    return str(answer.json["instance"]).startswith("urn:uuid:")


def is_retryable(wanted: bool) -> Any:
    return lambda _, answer: answer.json["retryable"] is wanted


def names_the_key(key: str | None) -> Any:
    return lambda _, answer: answer.json["idempotency_key"] == key


def is_made(_: Scene, answer: Reply) -> bool:
    return answer.status_code in {200, 201} and "id" in answer.json


def is_replayed(_: Scene, answer: Reply) -> bool:
    return answer.headers.get("Idempotent-Replayed") == "true"


def makes(count: int) -> Any:
    return lambda scene, _: scene.payments == count


def stores_the_answer(scene: Scene, answer: Reply) -> bool:
    ((kind, status, stored),) = scene.records()
    return (kind, status, stored["id"]) == ("completed", answer.status_code, answer.json["id"])


def stores_nothing(scene: Scene, _: Reply) -> bool:
    return scene.records() == []


def is_status(status: int) -> Any:
    return lambda _, answer: answer.status_code == status


def says_processed(_: Scene, answer: Reply) -> bool:
    return "processed" in answer.json["detail"]


BAD = (is_problem(400, "2.1"), has_instance, is_retryable(False))
TWO_PAYMENTS = (is_made, makes(2))  # Ours: theirs is 409.
REUSED = is_problem(422, "2.2")
RUNS = is_problem(409, "2.6")

# Theirs, in their order: what happens, and each scenario's expectations.
SCENARIOS: list[tuple[str, Callable[[Scene], Reply], tuple[Any, ...]]] = [
    ("missing key is 400", without_a_key, BAD[:1]),
    ("missing key has an instance", without_a_key, BAD),
    ("missing key is not retryable", without_a_key, BAD),
    ("empty key is 400", with_an_empty_key, BAD[:1]),
    ("empty key has an instance", with_an_empty_key, BAD),
    ("empty key is not retryable", with_an_empty_key, BAD),
    ("empty key names the key", with_an_empty_key, (*BAD, names_the_key(None))),
    ("a key of 256 characters is 400", with_a_long_key, BAD[:1]),
    ("a long key has an instance", with_a_long_key, BAD),
    ("a long key is not retryable", with_a_long_key, BAD),
    ("a key with commas is 400", with_commas_in_the_key, BAD[:1]),
    ("a key with commas has an instance", with_commas_in_the_key, BAD),
    ("a key with commas is not retryable", with_commas_in_the_key, BAD),
    ("a good key is taken", with_a_uuid, (is_made,)),
    ("the first request leaves a record", once, (stores_the_answer,)),
    ("its status is stored", once, (stores_the_answer, is_status(201))),
    ("its body is stored", once, (stores_the_answer,)),
    ("it makes what it should", once, (makes(1),)),
    ("it answers with that", once, (is_made,)),
    ("a repeat gets the answer", twice, (is_made,)),
    ("a repeat is marked", twice, (is_replayed,)),
    ("a repeat leaves no second record", twice, (stores_the_answer,)),
    ("a repeat makes nothing", twice, (makes(1),)),
    ("many repeats are one", four_times, (is_made, makes(1))),
    ("one body, two keys", one_body_under_two_keys, TWO_PAYMENTS),
    ("one body, two keys: its message", one_body_under_two_keys, TWO_PAYMENTS),
    ("one body, two keys: what is made", one_body_under_two_keys, TWO_PAYMENTS),
    ("one body, two keys: its instance", one_body_under_two_keys, TWO_PAYMENTS),
    ("one body, two keys: retryable", one_body_under_two_keys, TWO_PAYMENTS),
    ("a used key with another body is 422", two_bodies_under_one_key, (REUSED,)),
    ("its message", two_bodies_under_one_key, (REUSED,)),
    ("its instance", two_bodies_under_one_key, (REUSED, has_instance)),
    ("not retryable", two_bodies_under_one_key, (REUSED, is_retryable(False))),
    ("it names the key", two_bodies_under_one_key, (REUSED, names_the_key(KEY))),
    ("while the first runs: 409", while_the_first_runs, (RUNS,)),
    ("while the first runs: its message", while_the_first_runs, (RUNS, says_processed)),
    ("while the first runs: its instance", while_the_first_runs, (RUNS, has_instance)),
    ("while the first runs: retryable", while_the_first_runs, (RUNS, is_retryable(True))),
    ("a missing key is a problem", without_a_key, BAD[:1]),
    ("a reused key is a problem", two_bodies_under_one_key, (REUSED,)),
    ("one body, two keys: no problem", one_body_under_two_keys, TWO_PAYMENTS),
    ("GET is let through", by("GET"), (is_status(200), stores_nothing)),
    ("PUT has no record", by("PUT"), (is_status(405), stores_nothing)),
    ("DELETE has no record", by("DELETE"), (is_status(405), stores_nothing)),
    ("an empty body is one", with_no_body, (is_made, stores_the_answer)),
    ("PATCH is protected", by_patch, (is_made, stores_the_answer)),
]  # fmt: skip
WITHOUT_A_STORE = (
    ("without the store: 503", is_problem(503)),
    ("without the store: its instance", has_instance),
    ("without the store: retryable", is_retryable(True)),
)
EXCEPTIONS = 6


@pytest.fixture
def scene(database: str, kv_url: str, tmp_path: Path) -> Any:
    """The service with Redis, which does not wait for a first request that runs."""
    world = World(database, tmp_path, kv_url, REDIS_TIMEOUT_MS="5000", IDEMPOTENCY_WAIT_MS="0")
    world.services.kv.open()
    assert world.services.kv.wait_for("closed", 30)
    yield Scene(world)
    world.close()


@pytest.mark.parametrize(
    ("what_happens", "expected"),
    [pytest.param(happens, checks, id=title) for title, happens, checks in SCENARIOS],
)
def test_a_public_scenario_of_idempotency_holds(
    scene: Scene, what_happens: Callable[[Scene], Reply], expected: tuple[Any, ...]
) -> None:
    """K1 to K6."""
    answer = what_happens(scene)
    assert [check for check in expected if not check(scene, answer)] == [], answer.text


@pytest.mark.parametrize(("title", "check"), WITHOUT_A_STORE)
def test_a_public_scenario_without_the_store_holds(
    world: World, tmp_path: Path, title: str, check: Any
) -> None:
    """Section 7: PostgreSQL down is 503, and says that the same key is safe to send again."""
    away = World.__new__(World)
    elsewhere = {"DATABASE_URL": "postgresql://nobody:x@127.0.0.1:1/none", "REDIS_URL": "off"}
    config = Config.load({**elsewhere, "VAR_DIR": str(tmp_path)})
    away.app = create_app(config)
    away.services = away.app.extensions["strongroom"]
    away.api_key, away.user_id = world.api_key, world.user_id
    answer = Scene(away).post()
    away.close()
    assert check(Scene(world), answer), (title, answer.text)


def test_all_of_the_public_scenarios_are_here() -> None:
    """49, of which six are told with our own ending."""
    assert len(SCENARIOS) + len(WITHOUT_A_STORE) == 49
    assert sum(checks is TWO_PAYMENTS for _, _, checks in SCENARIOS) == EXCEPTIONS

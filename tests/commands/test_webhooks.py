"""`flask webhooks`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from commands.jobs import jobs_group
from commands.webhooks import webhooks
from tests.receivers import Authority, Receiver, receiving
from tests.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from click import Command

URL = "https://shop.example.org/hook"


@pytest.fixture
def receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver whose authority this process trusts."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with receiving(authority) as made:
        yield made


@pytest.fixture
def run(database: str, tmp_path: Path) -> Callable[..., Result]:
    environ = {
        "DATABASE_URL": database,
        "REDIS_URL": "off",
        "VAR_DIR": str(tmp_path),
        "WEBHOOK_ALLOW_PRIVATE": "true",
    }

    def invoke(*arguments: str, command: Command = webhooks) -> Result:
        return CliRunner().invoke(command, arguments, env=environ)

    return invoke


def made(run: Callable[..., Result], url: str = URL, *more: str) -> str:
    done = run("create", url, "--json", *more)
    assert done.exit_code == 0, done.output
    return str(json.loads(done.stdout)["id"])


def test_a_secret_is_shown_once(run: Callable[..., Result]) -> None:
    """Section 9: with a word on stderr, so that stdout is the endpoint alone."""
    done = run("create", URL, "--type", "payment.captured", "--description", "shop", "--json")
    endpoint = json.loads(done.stdout)
    assert endpoint["secret"].startswith("whsec_")
    assert (endpoint["url"], endpoint["event_types"]) == (URL, ["payment.captured"])
    assert done.stderr == "Keep the secret now: it is not shown again.\n"
    listed = run("list", "--json").stdout
    assert endpoint["secret"] not in listed
    assert [each["id"] for each in json.loads(listed)["data"]] == [endpoint["id"]]
    rotated = json.loads(run("rotate-secret", endpoint["id"], "--json").stdout)
    assert rotated["secret"] not in {endpoint["secret"], None}
    assert rotated["previous_until"].endswith("Z")


def test_lines_for_people_name_address_and_state(run: Callable[..., Result]) -> None:
    endpoint = made(run)
    assert run("show", endpoint).stdout == f"{endpoint}  active  {URL}\n"
    assert run("disable", endpoint).stdout == f"{endpoint}  disabled (by_request)  {URL}\n"
    assert run("enable", endpoint).stdout == f"{endpoint}  active  {URL}\n"
    other = "https://shop.example.org/other"
    assert run("change", endpoint, "--url", other).stdout == f"{endpoint}  active  {other}\n"
    assert run("list").stdout.count("\n") == 1
    assert run("delete", endpoint).stdout == f"deleted {endpoint}\n"
    assert run("list").stdout == ""


def test_a_change_leaves_the_rest_as_it_is(run: Callable[..., Result]) -> None:
    endpoint = made(run, URL, "--type", "payment.captured", "--description", "shop")
    changed = json.loads(run("change", endpoint, "--all-types", "--json").stdout)
    assert (changed["url"], changed["description"], changed["event_types"]) == (URL, "shop", [])


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("create", "http://shop.example.org/"), 2),
        (("create", URL, "--type", "payment.captred"), 2),
        (("show", "x"), 2),
        (("show", str(uuid4())), 3),
        (("delete", str(uuid4())), 3),
        (("redeliver", str(uuid4())), 2),
        (("redeliver", str(uuid4()), "--event", "x-1"), 2),
        (("redeliver", str(uuid4()), "--event", f"{uuid4()}-1"), 3),
        (("redeliver", str(uuid4()), "--failed-since", "yesterday"), 2),
        (("list", "--tenant", "Not A Tenant"), 2),
    ],
)
def test_exit_codes_tell_what_was_wrong(
    run: Callable[..., Result], arguments: tuple[str, ...], code: int
) -> None:
    """Architecture, section 4."""
    assert run(*arguments).exit_code == code


def test_a_test_call_is_exit_3_if_it_was_not_accepted(
    run: Callable[..., Result], receiver: Receiver
) -> None:
    endpoint = made(run, receiver.url)
    done = run("test", endpoint)
    assert (done.exit_code, done.stdout) == (0, "accepted: 204\n")
    receiver.answer = lambda _: (500, {})
    done = run("test", endpoint)
    assert (done.exit_code, done.stdout) == (3, "not accepted: 500\n")
    run("change", endpoint, "--url", "https://localhost:1/")
    done = run("test", endpoint, "--json")
    assert done.exit_code == 3
    assert json.loads(done.stdout)["error"] == "connection_failed"


def test_deliveries_are_made_by_the_jobs_and_repeated_by_hand(
    run: Callable[..., Result], receiver: Receiver, database: str, tmp_path: Path
) -> None:
    """W1: a run by hand ends when what it has begun is done."""
    endpoint = made(run, receiver.url)
    world = World(database, tmp_path)
    event = f"{world.payment()}-1"
    world.close()
    assert run("run", "fan-out-webhooks", command=jobs_group).exit_code == 0
    assert "pending  attempts 0  last none" in run("deliveries", endpoint).stdout
    assert run("run", "deliver-webhooks", command=jobs_group).exit_code == 0
    assert receiver.ids == [event]
    shown = run("deliveries", endpoint).stdout
    assert shown == f"{event}  payment.created  delivered  attempts 1  last 204\n"
    assert run("redeliver", endpoint, "--event", event).stdout == "queued 1\n"
    run("run", "deliver-webhooks", command=jobs_group)
    assert receiver.ids == [event, event]
    found = json.loads(run("deliveries", endpoint, "--state", "failed", "--json").stdout)
    assert found == {"data": [], "next_cursor": None}
    since = ("--failed-since", "2026-01-01T00:00:00Z")
    assert run("redeliver", endpoint, *since).stdout == "queued 0\n"

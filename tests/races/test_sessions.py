"""Real connections that want one session: one order, always, and nothing outlives its end (A27 to
A33, A47).

Each round starts its actors at one barrier. RACE_ROUNDS sets how many rounds each race has: the
suite has few, `make faults` 1,000.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from errors import AppError
from repos.audit import Caller
from tests.clients import PASSWORD, People, new_email

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.world import Reply

Told = TypeVar("Told")
GIVEN = os.environ.get("RACE_ROUNDS")
FEW = int(GIVEN or 6)  # Of what is slow because it hashes, or has many actors.
MORE = int(GIVEN or 12)  # Of what has few actors: nothing may survive its end.
ACTORS = 50
NEW = "an even longer sentence"


@pytest.fixture(scope="module")
def actors() -> Iterator[ThreadPoolExecutor]:
    sys.stderr.write(f"RACE_ROUNDS={GIVEN or 'few'}\n")
    with ThreadPoolExecutor(ACTORS) as pool:
        yield pool


@pytest.fixture
def crowd(database: str, tmp_path: Path) -> Iterator[People]:
    """A service that serves so many at once: each actor has a connection of its own."""
    made = People(
        database,
        tmp_path,
        WEB_THREADS=str(ACTORS),
        **PATIENT,
    )
    yield made
    made.close()


# AC2's order holds; a busy machine must not look like a fault.
PATIENT = {
    "DB_LOCK_TIMEOUT_MS": "5000",
    "DB_STATEMENT_TIMEOUT_MS": "5500",
    "DB_TRANSACTION_TIMEOUT_MS": "6000",
    "REQUEST_DEADLINE_MS": "6900",
}


def at_once(actors: ThreadPoolExecutor, calls: Sequence[Callable[[], Told]]) -> list[Told]:
    """Start all calls at the same moment and return their answers."""
    barrier = Barrier(len(calls))

    def start(call: Callable[[], Told]) -> Told:
        barrier.wait(30)
        return call()

    return list(actors.map(start, calls))


def outcomes(answers: Sequence[Reply]) -> Counter[str]:
    """Count what the actors were told: `ok`, or the code of the problem."""
    return Counter("ok" if answer.status_code < 300 else answer.json["code"] for answer in answers)


def alive(people: People, tokens: Sequence[dict[str, Any]]) -> int:
    """How many of these sessions still let anybody in, by access or by refresh token."""
    works = [people.works(each) for each in tokens]
    refreshed = [people.refresh(each["refresh_token"]).status_code == 200 for each in tokens]
    return sum(works) + sum(refreshed)


@pytest.mark.parametrize("many", [16, 50])
def test_parallel_refreshes_get_one_successor(
    crowd: People, actors: ThreadPoolExecutor, many: int
) -> None:
    """A30: all 200, one refresh-token value, one new generation (CVE-2026-1035)."""
    tokens = crowd.signed_up()
    for generation in range(1, FEW + 1):
        answers = at_once(actors, [partial(crowd.refresh, tokens["refresh_token"])] * many)
        assert outcomes(answers) == {"ok": many}
        assert len({answer.json["refresh_token"] for answer in answers}) == 1
        assert sum(not answer.json["retried"] for answer in answers) == 1
        assert all(crowd.works(answer.json) for answer in answers[:3])
        assert crowd.rows("SELECT generation FROM auth_sessions") == [(generation,)]
        crowd.change("DELETE FROM login_throttle")  # 120 refreshes a minute are the limit.
        tokens = answers[0].json


def test_parallel_reuse_ends_one_family_once(crowd: People, actors: ThreadPoolExecutor) -> None:
    """A32: told once, whoever was first."""
    for _ in range(FEW):
        first = crowd.signed_up()
        second = crowd.refresh(first["refresh_token"]).json
        third = crowd.refresh(second["refresh_token"]).json
        answers = at_once(actors, [partial(crowd.refresh, first["refresh_token"])] * 8)
        assert outcomes(answers) == {"refresh_token_reused": 1, "session_revoked": 7}
        assert alive(crowd, [third]) == 0
        crowd.change("DELETE FROM login_throttle")
    rows = crowd.rows("SELECT count(*) FROM audit_log WHERE event = 'refresh_reuse_detected'")
    assert rows == [(FEW,)]


@pytest.mark.parametrize("ending", ["logout", "logout_all", "change", "disable"])
def test_nothing_outlives_what_ends_a_session(
    crowd: People, actors: ThreadPoolExecutor, ending: str
) -> None:
    """A33: refresh beside log-out, password change, disable: after their 2xx nothing works."""
    survivors = 0
    for _ in range(MORE):
        email = new_email()
        tokens = crowd.signed_up(email)
        end: dict[str, Callable[[], Reply]] = {
            "logout": partial(
                crowd.ask, "POST", "/logout", {"refresh_token": tokens["refresh_token"]}
            ),
            "logout_all": partial(
                crowd.ask, "POST", "/logout-all", {"scope": "all"}, token=tokens["access_token"]
            ),
            "change": partial(
                crowd.ask,
                "POST",
                "/password/change",
                {"current_password": PASSWORD, "new_password": NEW},
                token=tokens["access_token"],
            ),
            "disable": partial(disabled, crowd, tokens),
        }
        refresh = partial(crowd.refresh, tokens["refresh_token"])
        answers: list[Reply] = at_once(actors, [end[ending], refresh, refresh])
        assert answers[0].status_code < 300, answers[0].json
        got = [answer.json for answer in answers[1:] if answer.status_code == 200]
        survivors += alive(crowd, [tokens, *got])
    assert survivors == 0


def disabled(crowd: People, tokens: dict[str, Any]) -> Reply:
    """Disable a user as the command does, and answer like a view."""
    crowd.change(
        "UPDATE users SET status = 'disabled', session_epoch = session_epoch + 1,"
        " version = version + 1 WHERE id = %s",
        tokens["user"]["id"],
    )
    return crowd.get("/livez")


def test_no_log_in_outlives_a_password_change(crowd: People, actors: ThreadPoolExecutor) -> None:
    """A4: the old password, verified beside the change, opens nothing that lives."""
    survivors = 0
    for _ in range(FEW):
        email = new_email()
        tokens = crowd.signed_up(email)
        change = partial(
            crowd.ask,
            "POST",
            "/password/change",
            {"current_password": PASSWORD, "new_password": NEW},
            token=tokens["access_token"],
        )
        answers = at_once(actors, [change, *[partial(crowd.log_in, email)] * 3])
        assert answers[0].status_code == 200, answers[0].json
        assert set(outcomes(answers[1:])) <= {"ok", "invalid_credentials"}
        got = [answer.json for answer in answers[1:] if answer.status_code == 200]
        survivors += alive(crowd, got)
        assert crowd.works(answers[0].json)
    assert survivors == 0


def test_a_link_is_used_once_of_twenty_times(
    database: str, tmp_path: Path, actors: ThreadPoolExecutor
) -> None:
    """A47: exactly one succeeds, and its password is the one that counts.

    Past HTTP, whose deadline would end a hash that waits on a busy machine.
    """
    settings = {"ARGON2_SLOTS": "8", "ARGON2_QUEUE_S": "60"}
    crowd = People(database, tmp_path, WEB_THREADS="20", **settings, **PATIENT)
    for _ in range(FEW):
        email = new_email()
        crowd.signed_up(email)
        crowd.ask("POST", "/password/forgot", {"email": email})
        reset = partial(told, crowd.services.password_changes.reset, crowd.link(email))
        codes = at_once(actors, [partial(reset, f"{NEW} {number}") for number in range(20)])
        assert Counter(codes) == {"ok": 1, "token_invalid_or_expired": 19}
        assert crowd.log_in(email, f"{NEW} {codes.index('ok')}").status_code == 200
    crowd.close()


def told(reset: Callable[..., None], link: str, password: str) -> str:
    """Use a link as the view does; return `ok`, or the code of the problem."""
    try:
        reset(link, password, None, Caller(address=None, user_agent=None, request_id="race"))
    except AppError as error:
        return error.code
    return "ok"


def test_parallel_guesses_beyond_the_limit_are_not_verified(
    crowd: People, actors: ThreadPoolExecutor
) -> None:
    """A27: of N + k at most N (GHSA-7h8m-vrxx-vr4m)."""
    email = new_email()
    crowd.signed_up(email)
    guesses = [partial(crowd.log_in, email, "wrong password here")] * 40
    assert outcomes(at_once(actors, guesses)) == {"invalid_credentials": 10, "rate_limited": 30}
    reasons = crowd.rows(
        "SELECT reason, count(*) FROM audit_log WHERE event = 'login' GROUP BY 1 ORDER BY 1"
    )
    assert reasons == [("pair", 1), ("wrong_password", 10)]


def test_parallel_guesses_from_everywhere_stop_at_the_account(
    database: str, tmp_path: Path, actors: ThreadPoolExecutor
) -> None:
    """A27: the account's bucket, whatever the address."""
    crowd = People(database, tmp_path, WEB_THREADS="50", LOGIN_ACCOUNT_LIMIT="12", **PATIENT)
    email = new_email()
    guesses = [
        partial(crowd.log_in, email, "wrong password here", address=f"192.0.2.{number}")
        for number in range(40)
    ]
    told = outcomes(at_once(actors, guesses))
    assert told == {"invalid_credentials": 12, "rate_limited": 28}
    crowd.close()


def test_parallel_first_log_ins_upgrade_once_and_all_succeed(
    database: str, tmp_path: Path, actors: ThreadPoolExecutor
) -> None:
    """A17: hash version and epoch are two counters."""
    crowd = People(database, tmp_path, WEB_THREADS="16", **PATIENT)
    email = new_email()
    crowd.signed_up(email)
    later = People(database, tmp_path, WEB_THREADS="16", ARGON2_TIME_COST="6", **PATIENT)
    answers = at_once(actors, [partial(later.log_in, email)] * 8)
    assert outcomes(answers) == {"ok": 8}
    assert later.rows("SELECT password_hash_version FROM users WHERE email = %s", email) == [(2,)]
    crowd.close()
    later.close()


def test_parallel_registrations_make_one_user(crowd: People, actors: ThreadPoolExecutor) -> None:
    """The unique address decides."""
    for _ in range(FEW):
        answers = at_once(actors, [partial(crowd.register, new_email())] * 6)
        assert outcomes(answers) == {"ok": 1, "email_taken": 5}


def test_parallel_log_ins_keep_the_limit_of_sessions(
    database: str, tmp_path: Path, actors: ThreadPoolExecutor
) -> None:
    """A34: whoever comes last leaves it kept."""
    crowd = People(database, tmp_path, WEB_THREADS="16", MAX_SESSIONS_PER_USER="3", **PATIENT)
    email = new_email()
    crowd.signed_up(email)
    for _ in range(FEW):
        answers = at_once(actors, [partial(crowd.log_in, email)] * 8)
        assert outcomes(answers) == {"ok": 8}
        rows = crowd.rows("SELECT count(*) FROM auth_sessions WHERE revoked_at IS NULL")
        assert rows == [(3,)]
    crowd.close()

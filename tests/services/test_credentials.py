"""Whoever asks, by whatever credential."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from errors import AccessTokenInvalid, ApiKeyInvalid, AppError
from observability import Context, begin

if TYPE_CHECKING:
    from tests.world import World

HERE = "192.0.2.1"


def test_a_key_and_a_token_are_told_by_their_beginning(world: World) -> None:
    """A1."""
    key = world.services.credentials.authenticate(world.api_key, HERE)
    session = world.new_session()
    user = world.services.credentials.authenticate(session.token, HERE)
    assert (key.subject[:4], key.session_id, key.owner_id) == ("key:", None, None)
    assert (user.subject, user.session_id) == (f"user:{session.user_id}", session.session_id)


@pytest.mark.parametrize(
    ("bearer", "error"),
    [
        ("srk_", ApiKeyInvalid),
        ("srk_default_x", ApiKeyInvalid),
        ("srr_AAAA", AccessTokenInvalid),
        ("sro_AAAA", AccessTokenInvalid),
        ("x", AccessTokenInvalid),
        ("..", AccessTokenInvalid),
        ("é.é.é", AccessTokenInvalid),
    ],
)
def test_what_is_neither_is_401(world: World, bearer: str, error: type[AppError]) -> None:
    """A12, A35, A39: a refresh token is no bearer token."""
    with pytest.raises(error):
        world.services.credentials.authenticate(bearer, HERE)


def test_a_refused_scope_is_audited_with_its_request(world: World) -> None:
    """A52: `scope_denied`, of keys and of users."""
    session = world.new_session()
    for bearer in (world.api_key, session.token):
        begin(Context(request_id="request-1"))
        actor = world.services.credentials.authenticate(bearer, HERE)
        world.services.credentials.scope_denied(actor, "payments:capture", HERE)
        told = world.rows(
            "SELECT outcome, reason, host(ip), request_id FROM audit_log"
            " WHERE event = 'scope_denied' AND subject = %s",
            actor.subject,
        )
        assert told == [("failed", "payments:capture", HERE, "request-1")]

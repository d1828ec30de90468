"""The public documents about keys and issuers (A3, A43, A46)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from services import jws
from tests.world import World

if TYPE_CHECKING:
    from pathlib import Path

    from tests.world import Reply

DOCUMENTS = ("jwks.json", "openid-configuration", "oauth-authorization-server")
PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}


def ask(world: World, path: str) -> Reply:
    """Ask without any credential."""
    return world.get(path, Authorization="")


@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA"])
def test_the_key_set_verifies_a_token(database: str, tmp_path: Path, alg: str) -> None:
    """A43: whoever has the document needs nothing else."""
    world = World(database, tmp_path, JWT_ALG=alg)
    session = world.new_session()
    answer = ask(world, "/.well-known/jwks.json")
    assert answer.status_code == 200
    assert jws.verify(jws.read(session.token), jws.read_keys(answer.json)).alg == alg
    (key,) = answer.json["keys"]
    assert not PRIVATE & key.keys()
    assert None not in key.values()
    assert (key["use"], key["alg"], key["kid"]) == ("sig", alg, jws.thumbprint(key))
    world.close()


def test_documents_may_be_kept_for_a_while(world: World) -> None:
    """A43: `Cache-Control: public, max-age=300`."""
    for name in DOCUMENTS:
        answer = ask(world, f"/.well-known/{name}")
        assert answer.headers["Cache-Control"] == "public, max-age=300"
        assert answer.headers["Content-Type"] == "application/json"


def test_the_next_key_is_published_beside_the_one_that_signs(world: World) -> None:
    """A44."""
    world.new_session()
    world.services.signing_keys.rotate("default", "cli:test")
    assert len(ask(world, "/.well-known/jwks.json").json["keys"]) == 2


def test_an_issuer_names_itself_and_its_keys(world: World) -> None:
    """Section 10: `{issuer}/.well-known/`."""
    world.services.tenants.create("acme", "Acme", "cli:test")
    url = world.services.config.public_url
    for prefix in ("", "/t/acme"):
        for name in DOCUMENTS[1:]:
            found = ask(world, f"{prefix}/.well-known/{name}").json
            assert found["issuer"] == url + prefix
            assert found["jwks_uri"] == f"{url}{prefix}/.well-known/jwks.json"


def test_the_documents_of_one_tenant_are_not_those_of_another(world: World) -> None:
    """A2."""
    world.services.tenants.create("acme", "Acme", "cli:test")
    mine, theirs = world.new_session(), world.new_session("user", "acme")
    kids = {
        prefix: [key["kid"] for key in ask(world, f"{prefix}/.well-known/jwks.json").json["keys"]]
        for prefix in ("", "/t/default", "/t/acme")
    }
    my_kid, their_kid = (jws.read(each.token).header["kid"] for each in (mine, theirs))
    assert kids == {"": [my_kid], "/t/default": [my_kid], "/t/acme": [their_kid]}


def test_unknown_and_suspended_tenants_look_alike(world: World) -> None:
    """A3: nobody learns which tenants there are; no key is made by asking."""
    world.services.tenants.create("acme", "Acme", "cli:test")
    world.new_session("user", "acme")
    world.services.tenants.suspend("acme", "cli:test")
    for name in DOCUMENTS:
        suspended, unknown = (
            ask(world, f"/t/{tenant}/.well-known/{name}") for tenant in ("acme", "nobody")
        )
        assert suspended.status_code == unknown.status_code == 200
        text = suspended.get_data(as_text=True)
        assert text.replace("acme", "nobody") == unknown.get_data(as_text=True)
    assert world.rows("SELECT 1 FROM signing_keys WHERE tenant_id = 'nobody'") == []


@pytest.mark.parametrize("tenant", ["Acme", "a_b", "%00", "-", "a" * 33, "..", "%C3%A9"])
def test_what_is_no_tenant_is_404(world: World, tenant: str) -> None:
    for name in DOCUMENTS:
        assert ask(world, f"/t/{tenant}/.well-known/{name}").status_code == 404


def test_the_documents_can_be_switched_off(database: str, tmp_path: Path) -> None:
    """A46: they are hidden, and tokens work as before."""
    world = World(database, tmp_path, FEATURE_JWKS_ENABLED="false")
    session = world.new_session()
    for name in DOCUMENTS:
        for prefix in ("", "/t/default"):
            answer = ask(world, f"{prefix}/.well-known/{name}")
            assert (answer.status_code, answer.json["code"]) == (404, "feature_disabled")
    assert world.get("/v1/payments", **session.headers).status_code == 200
    world.close()

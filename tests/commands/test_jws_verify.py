"""`flask jws-verify`: the verifier of section 14, from outside."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from commands.jws_verify import jws_verify
from tests.services.test_jws import ES256, ES256_KEY, RS256_KEY

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def jwks(tmp_path: Path) -> str:
    path = tmp_path / "jwks.json"
    keys = [ES256_KEY | {"kid": "e"}, RS256_KEY | {"use": "enc"}]
    path.write_text(json.dumps({"keys": keys}), "utf-8")
    return str(path)


def run(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(jws_verify, arguments, input=stdin)


def test_a_good_token_exits_0(jwks: str) -> None:
    said = run("--jwks", jwks, "--token", ES256)
    assert (said.exit_code, said.stdout) == (0, "valid: ES256, kid e\n")
    said = run("--jwks", jwks, "--token", "-", "--json", stdin=f"{ES256}\n")
    assert (said.exit_code, json.loads(said.stdout)) == (
        0,
        {"valid": True, "kid": "e", "alg": "ES256"},
    )


def test_a_bad_token_exits_3_with_its_reason(jwks: str) -> None:
    said = run("--jwks", jwks, "--token", f"{ES256}A")
    assert (said.exit_code, said.stdout) == (3, "")
    assert said.stderr.startswith("invalid: ")
    said = run("--jwks", jwks, "--token", "a.b", "--json")
    assert said.exit_code == 3
    assert json.loads(said.stdout) == {"valid": False, "reason": "not three segments"}


def test_an_unreadable_key_set_exits_2(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    assert run("--jwks", str(path), "--token", ES256).exit_code == 2
    path.write_text("{", "utf-8")
    assert run("--jwks", str(path), "--token", ES256).exit_code == 2

"""`flask jws-verify`: the service's own verifier, by hand and for public test vectors.

Exit codes: 0 the token is valid; 2 the key set cannot be read; 3 the token is not valid.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from commands.arguments import json_option
from services import jws

INVALID = 3


@click.command("jws-verify")
@click.option(
    "--jwks",
    "jwks_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="A JWK or a JWK set.",
)
@click.option("--token", required=True, help="A compact JWS; - reads it from stdin.")
@json_option
def jws_verify(jwks_file: Path, token: str, as_json: bool) -> None:
    """Say whether a key of --jwks has signed --token; claims and times are not looked at."""
    try:
        document = jws.members(jwks_file.read_bytes())
    except jws.JwsInvalid as error:
        raise click.UsageError(f"--jwks: {error}") from error
    is_piped = token == "-"  # noqa: S105  # A dash is no secret.
    text = sys.stdin.read().rstrip("\n") if is_piped else token
    try:
        found = jws.read(text)
        key = jws.verify(found, jws.read_keys(document))
    except jws.JwsInvalid as error:
        if as_json:
            click.echo(json.dumps({"valid": False, "reason": str(error)}))
        click.echo(f"invalid: {error}", err=True)
        sys.exit(INVALID)
    facts = {"valid": True, "kid": key.kid, "alg": found.header["alg"]}
    click.echo(json.dumps(facts) if as_json else f"valid: {facts['alg']}, kid {key.kid}")

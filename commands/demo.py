"""`flask demo`: a user and an API key to try things with, and four curl lines that work."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from commands.database import db_settings
from commands.servers import running_stores
from config import Config
from errors import EmailTaken
from persistence.db import Database
from services.actors import GRANTABLE
from services.api_keys import ApiKeys
from services.users import Users

if TYPE_CHECKING:
    from pathlib import Path

SUBJECT = "system:demo"
EXAMPLE = """\
KEY={api_key}
URL={url}
JSON='Content-Type: application/json'
send() {{ curl -sS -H "Authorization: Bearer $KEY" -H "$JSON" "$@"; echo; }}

# 1. A payment of EUR 25.00.
ANSWER=$(send -H 'Idempotency-Key: demo-create' $URL/v1/payments \\
  -d '{{"amount_minor": 2500, "currency": "EUR", "user_id": "{user_id}"}}')
echo "$ANSWER"
ID=$(echo "$ANSWER" | sed 's/.*"id": *"\\([0-9a-f-]\\{{36\\}}\\)".*/\\1/')

# 2. Take the money. Sent again with the same key it moves nothing and answers the same.
send -H 'Idempotency-Key: demo-capture' -X POST $URL/v1/payments/$ID/capture -d '{{}}'

# 3. Read the payment, and 4. what the user now has in the ledger.
send $URL/v1/payments/$ID
send $URL/v1/ledger/accounts/users:{user_id}:available/balance
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """What VAR_DIR/demo.json holds: where to send requests, with which key, for which user."""

    url: str
    api_key: str
    user_id: str

    @property
    def example(self) -> str:
        """Shell lines that create, capture and read a payment, and read the balance."""
        return EXAMPLE.format(**asdict(self))


def demo_file(config: Config) -> Path:
    """Return where the demo is kept."""
    return config.var_dir / "demo.json"


def read_demo(config: Config) -> Demo | None:
    """Return the demo that was made before, with today's address; None if there is none."""
    try:
        found = json.loads(demo_file(config).read_text("utf-8"))
        demo = Demo(url=config.public_url, api_key=found["api_key"], user_id=found["user_id"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if found != asdict(demo):
        _write(demo_file(config), demo)
    return demo


def make_demo(config: Config) -> Demo:
    """Make a user and an API key in the default tenant and write them down; `config` has URLs."""
    if config.database_url is None:
        raise RuntimeError("Bug: stores run, and there is no URL")
    db = Database(config.database_url.get_secret_value(), db_settings(config, 1))
    try:
        demo = Demo(
            url=config.public_url,
            api_key=_make_key(db, config.default_tenant),
            user_id=_make_user(db, config.default_tenant),
        )
    finally:
        db.close()
    _write(demo_file(config), demo)
    return demo


def _make_key(db: Database, tenant_id: str) -> str:
    _, text = ApiKeys(db).create(tenant_id, "demo", sorted(GRANTABLE), SUBJECT)
    return text


def _make_user(db: Database, tenant_id: str) -> str:
    """Make the demo's user; a second demo in the same database needs another address."""
    users = Users(db)
    try:
        user = users.create(tenant_id, "demo@example.com", SUBJECT)
    except EmailTaken:
        user = users.create(tenant_id, f"demo-{secrets.token_hex(4)}@example.com", SUBJECT)
    return str(user.id)


def _write(path: Path, demo: Demo) -> None:
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(asdict(demo), file, indent=1)
    draft.replace(path)


@click.command("demo")
def demo_command() -> None:
    """Show the demo's curl lines; the user and the API key are made if there are none."""
    with running_stores(Config.load()) as config:
        demo = read_demo(config) or make_demo(config)
    click.echo(demo.example)

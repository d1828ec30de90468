"""Users as other systems leave them: hashes of any kind, straight into the table."""

from __future__ import annotations

import re
import uuid
from typing import Any

import psycopg
from psycopg.types.json import Jsonb


def store_hash(database: str, text: str, *, legacy: bool = False) -> uuid.UUID:
    """Make a user with this hash, of ours or of the older store, and return its id."""
    user_id = uuid.uuid4()
    columns = "legacy_password_hash" if legacy else "password_hash, password_algo, password_params"
    values: list[Any] = [text] if legacy else [text, *_repeated(text)]
    email = f"{user_id}@example.org"
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(
            f"INSERT INTO users (tenant_id, id, email, email_norm, {columns})"
            f" VALUES ('default', %s, %s, %s, {', '.join(['%s'] * len(values))})",
            [user_id, email, email, *values],
        )
    return user_id


def store_session(database: str, user_id: uuid.UUID, epoch: int = 0) -> uuid.UUID:
    """Make a session of a user that lives for an hour, and return its id."""
    session_id = uuid.uuid4()
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO auth_sessions (tenant_id, id, user_id, epoch, secret_hash, ip, user_agent,"
            " device_label, idle_expires_at, absolute_expires_at) VALUES ('default', %s, %s, %s,"
            " decode(repeat('00', 32), 'hex'), '192.0.2.1', 'curl/8', 'laptop',"
            " now() + interval '1 hour', now() + interval '1 hour')",
            [session_id, user_id, epoch],
        )
    return session_id


def _repeated(text: str) -> tuple[str, Jsonb]:
    if not text.startswith("$argon2"):
        cost = re.match(r"\$2.\$(\d+)", text)
        return "bcrypt", Jsonb({"cost": int(cost[1])} if cost else {})
    params = {name: int(value) for name, value in re.findall(r"\b([mtp])=(\d+)", text)}
    return text.split("$")[1], Jsonb(params)

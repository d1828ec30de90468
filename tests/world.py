"""The service as a client meets it: an application over a fresh database, with a user and a key."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from app import create_app
from config import Config
from services.access_tokens import SessionFacts
from services.actors import GRANTABLE

if TYPE_CHECKING:
    from pathlib import Path

    from werkzeug.test import TestResponse

    from services import Services

    class Reply(TestResponse):
        """An answer whose JSON a test may read without asking first whether there is any."""

        json: Any


SUBJECT = "cli:test"
# A busy machine may hold a lock for long: no race fails on a time. AC2's order holds.
PATIENT = {
    "DB_POOL_TIMEOUT_MS": "30000",
    "DB_LOCK_TIMEOUT_MS": "5500",
    "DB_STATEMENT_TIMEOUT_MS": "6000",
    "DB_TRANSACTION_TIMEOUT_MS": "6500",
    "DB_IDLE_TRANSACTION_TIMEOUT_MS": "6500",
    "REQUEST_DEADLINE_MS": "6900",
    "SLOT_WAIT_MS": "5000",
}


def new_key() -> str:
    """Return an Idempotency-Key that nobody has used."""
    return str(uuid.uuid4())


@dataclass(frozen=True)
class Session:
    """A user who has logged in, and the access token of that."""

    user_id: uuid.UUID
    session_id: uuid.UUID
    token: str

    @property
    def headers(self) -> dict[str, str]:
        """What the user's requests carry."""
        return {"Authorization": f"Bearer {self.token}"}


class World:
    """One tenant's client. Every thread may use it: each request takes its own connection."""

    def __init__(
        self, database: str, var_dir: Path, redis_url: str = "off", **settings: str
    ) -> None:
        environ = {
            "DATABASE_URL": database,
            "REDIS_URL": redis_url,
            "VAR_DIR": str(var_dir),
            "DB_POOLER": os.environ.get("TEST_POOLER", "none"),
            "FEATURE_LEDGER_ENABLED": "true",
            "LOG_LEVEL": "error",
            # A busy machine may need longer for the first connection: no test fails on a time.
            "DB_POOL_TIMEOUT_MS": "30000",
            "JWT_ALG": "ES256",  # An RSA key takes most of a second to make.
            # A hash that takes a millisecond; what it costs is not what these tests are about.
            "ARGON2_MEMORY_KIB": "8192",
            "ARGON2_TIME_COST": "1",
            "RATE_LIMIT_ENABLED": "false",  # A test asks faster than any client.
            **settings,
        }
        self.app = create_app(Config.load(environ))
        self.services: Services = self.app.extensions["strongroom"]
        self.user_id = str(self.new_user().id)
        self.api_key = self.new_api_key()

    def close(self) -> None:
        """Give back connections; the database is dropped next."""
        self.services.kv.close()
        self.services.db.close()

    def be_patient(self) -> None:
        """Let nothing end a statement or a request early: a busy machine needs long for much."""
        connections = self.services.db.connections
        connections.close()
        connections._pool = None  # The next one has these settings.
        connections.settings = replace(
            connections.settings,
            pool_timeout_ms=200_000,
            lock_timeout_ms=200_000,
            statement_timeout_ms=210_000,
            transaction_timeout_ms=220_000,
            idle_transaction_timeout_ms=220_000,
            request_deadline_ms=230_000,
        )
        frame: Any = self.app.wsgi_app
        frame._deadline_s = 230.0

    def new_user(self, tenant_id: str = "default") -> Any:
        """Make a user with an address of its own."""
        return self.services.users.create(tenant_id, f"{uuid.uuid4()}@example.org", SUBJECT)

    def new_api_key(self, scopes: list[str] | None = None, tenant_id: str = "default") -> str:
        """Make an API key, with every scope that keys may hold, or with these."""
        made = scopes or sorted(GRANTABLE)
        _, text = self.services.api_keys.create(tenant_id, "test", made, SUBJECT)
        return text

    def new_session(
        self, role: str = "user", tenant_id: str = "default", *, auth_age_s: int = 0
    ) -> Session:
        """Make a user of this role with a live session, whose password was given so long ago."""
        user_id, session_id = self.new_user(tenant_id).id, uuid.uuid4()
        self.rows(
            "WITH changed AS (UPDATE users SET role = %s, version = version + 1"
            " WHERE tenant_id = %s AND id = %s RETURNING tenant_id, id, session_epoch)"
            " INSERT INTO auth_sessions (tenant_id, id, user_id, epoch, secret_hash, auth_time,"
            " idle_expires_at, absolute_expires_at) SELECT tenant_id, %s, id, session_epoch,"
            " sha256('x'), now() - make_interval(secs => %s), now() + interval '1 day',"
            " now() + interval '2 days' FROM changed RETURNING 1",
            *(role, tenant_id, user_id, session_id, auth_age_s),
        )
        facts = SessionFacts(
            tenant_id=tenant_id,
            user_id=user_id,
            session_id=session_id,
            auth_time=datetime.now(UTC),
            amr=["pwd"],
            role=role,
        )
        return Session(user_id, session_id, self.services.access_tokens.issue(facts).text)

    # --- HTTP -----------------------------------------------------------------------------------

    def get(self, path: str, **headers: str) -> Reply:
        """GET with the API key."""
        client = self.app.test_client()
        return cast("Reply", client.get(path, headers=self._headers(headers), buffered=True))

    def post(
        self,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        key: str | None = None,
        keyed: bool = True,
        **headers: str,
    ) -> Reply:
        """POST with the API key and an Idempotency-Key, a new one if none is given."""
        named = {"Idempotency-Key": new_key() if key is None else key} if keyed else {}
        sent = self._headers({**named, **headers})
        client = self.app.test_client()
        # Buffered: the answer is closed, so what follows it has happened too.
        return cast("Reply", client.post(path, json=body or {}, headers=sent, buffered=True))

    def patch(self, path: str, body: dict[str, Any], **headers: str) -> Reply:
        """PATCH with the API key, under a key that the server makes unless one is given."""
        client = self.app.test_client()
        sent = self._headers(headers)
        return cast("Reply", client.patch(path, json=body, headers=sent, buffered=True))

    def put(self, path: str, body: dict[str, Any], **headers: str) -> Reply:
        """PUT with the API key, under a key that the server makes unless one is given."""
        client = self.app.test_client()
        sent = self._headers(headers)
        return cast("Reply", client.put(path, json=body, headers=sent, buffered=True))

    def _headers(self, more: dict[str, str]) -> dict[str, str]:
        named = {name.replace("_", "-"): value for name, value in more.items()}
        return {"Authorization": f"Bearer {self.api_key}", **named}

    # --- Payments -------------------------------------------------------------------------------

    def payment(self, amount_minor: int = 10_000, **body: Any) -> str:
        """Create a payment and return its id."""
        given = {"amount_minor": amount_minor, "currency": "EUR", "user_id": self.user_id, **body}
        answer = self.post("/v1/payments", given)
        assert answer.status_code == 201, answer.json
        return str(answer.json["id"])

    def authorized(self, amount_minor: int = 10_000, **body: Any) -> str:
        """Create and authorise a payment and return its id."""
        payment_id = self.payment(amount_minor, **body)
        assert self.command(payment_id, "authorize").status_code == 200
        return payment_id

    def captured(self, amount_minor: int = 10_000, fee_minor: int = 0, **body: Any) -> str:
        """Create and capture a payment and return its id."""
        payment_id = self.payment(amount_minor, **body)
        answer = self.command(payment_id, "capture", {"fee_minor": fee_minor})
        assert answer.status_code == 200, answer.json
        return payment_id

    def disputed(self, payment_id: str, amount_minor: int | None = None, **body: Any) -> str:
        """Open a dispute, of all that is left without an amount, and return its id."""
        given = {"reason": "fraud", "reference": new_key(), **body}
        if amount_minor is not None:
            given["amount_minor"] = amount_minor
        answer = self.command(payment_id, "disputes", given)
        assert answer.status_code == 201, answer.json
        return str(answer.json["id"])

    def resolve(self, dispute_id: str, outcome: str, **body: Any) -> Reply:
        """End a dispute."""
        return self.post(f"/v1/disputes/{dispute_id}/resolve", {"outcome": outcome, **body})

    def command(
        self, payment_id: str, name: str, body: dict[str, Any] | None = None, **more: Any
    ) -> Reply:
        """Send a command to a payment."""
        return self.post(f"/v1/payments/{payment_id}/{name}", body, **more)

    def read(self, payment_id: str) -> dict[str, Any]:
        """Return a payment as it is now."""
        answer = self.get(f"/v1/payments/{payment_id}")
        assert answer.status_code == 200
        return dict(answer.json)

    def rows(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        """Ask the database itself, past the service."""
        import psycopg  # noqa: PLC0415  # Most tests speak HTTP only.

        url = self.services.config.database_url
        assert url is not None
        with psycopg.connect(url.get_secret_value(), autocommit=True) as conn:
            return conn.execute(query, params).fetchall()

"""The service as people meet it: they register, log in, refresh, and read their mail."""

from __future__ import annotations

import re
import uuid
from email import message_from_bytes, policy
from typing import TYPE_CHECKING, Any, cast

from services.auth_purge import AuthPurge
from services.job_catalogue import AuthJobs
from services.jobs import Ask, Job, Jobs, JobSettings
from services.mail import ConsoleMailer, FileMailer
from services.mail_outbox import MailOutbox
from services.one_time_tokens import OneTimeTokens
from services.sealed_keys import SealedKeys
from services.signing_keys import SigningKeys, SigningSettings
from tests.world import World

if TYPE_CHECKING:
    from pathlib import Path

    from persistence.db import Database
    from tests.world import Reply

# The least that the settings allow, so that a test hashes in a few milliseconds.
FAST = {
    "ARGON2_MEMORY_KIB": "8192",
    "ARGON2_TIME_COST": "1",
    "ARGON2_QUEUE_S": "30",
    "ARGON2_SLOTS": "4",
    "JWT_ALG": "EdDSA",
    "LOGIN_IP_PER_MINUTE": "100000",
}
PASSWORD = "correct horse battery staple"
ADDRESS = "192.0.2.7"


class People(World):
    """One tenant's people. Every thread may use it: each request takes its own connection."""

    def __init__(
        self, database: str, var_dir: Path, redis_url: str = "off", **settings: str
    ) -> None:
        super().__init__(database, var_dir, redis_url, **{**FAST, **settings})
        self.mail_dir = var_dir / "mail"

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        address: str = ADDRESS,
        **headers: str,
    ) -> Reply:
        """Send a request to `/v1/auth<path>` from an address, with an access token or none."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            named["Authorization"] = f"Bearer {token}"
        answer = self.app.test_client().open(
            f"/v1/auth{path}",
            method=method,
            json=body,
            headers=named,
            environ_overrides={"REMOTE_ADDR": address},
            buffered=True,
        )
        return cast("Reply", answer)

    def register(self, email: str | None = None, password: str = PASSWORD, **body: Any) -> Reply:
        """Register an address, a new one if none is given."""
        given = {"email": email or new_email(), "password": password, **body}
        return self.ask("POST", "/register", given)

    def signed_up(self, email: str | None = None, **body: Any) -> dict[str, Any]:
        """Register and return the tokens."""
        answer = self.register(email, **body)
        assert answer.status_code == 201, answer.json
        return dict(answer.json)

    def log_in(
        self, email: str, password: str = PASSWORD, *, address: str = ADDRESS, **body: Any
    ) -> Reply:
        """Log in."""
        given = {"email": email, "password": password, **body}
        return self.ask("POST", "/login", given, address=address)

    def logged_in(self, email: str, password: str = PASSWORD, **body: Any) -> dict[str, Any]:
        """Log in and return the tokens."""
        answer = self.log_in(email, password, **body)
        assert answer.status_code == 200, answer.json
        return dict(answer.json)

    def refresh(self, refresh_token: str) -> Reply:
        """Exchange a refresh token."""
        return self.ask("POST", "/refresh", {"refresh_token": refresh_token})

    def me(self, access_token: str) -> Reply:
        """Ask who the bearer of an access token is."""
        return self.ask("GET", "/me", token=access_token)

    def works(self, tokens: dict[str, Any]) -> bool:
        """Tell whether the access token of a session is served."""
        return self.me(tokens["access_token"]).status_code == 200

    def change(self, query: str, *params: Any, **named: Any) -> None:
        """Change the database itself, as time, an operator or a thief would."""
        import psycopg  # noqa: PLC0415  # Most tests speak HTTP only.

        url = self.services.config.database_url
        assert url is not None
        with psycopg.connect(url.get_secret_value(), autocommit=True) as conn:
            conn.execute(query.encode(), named or params)

    # --- Mail and what is left ------------------------------------------------------------------

    def send_mail(self) -> None:
        """Run the job `send-mail` once."""
        config = self.services.config
        mailer = FileMailer(self.mail_dir, config.mail_from)
        tokens = OneTimeTokens(config.subkeys("one-time"))
        outbox = MailOutbox(self.services.db, mailer, tokens, config.mail_link_base)
        self.run_job("send-mail", outbox.send_due)

    def purge(self, ask: Ask | None = None) -> int:
        """Run the job `auth-purge` once; how many rows went."""
        days = self.services.config.unverified_user_days
        return self.run_job("auth-purge", AuthPurge(self.services.db, days).work, ask)

    def run_job(self, name: str, work: Any, ask: Ask | None = None) -> int:
        """Run a job once; how many rows it changed."""
        jobs = Jobs(
            self.services.db, [Job(name=name, every_ms=1000, work=work)], JobSettings(), "test:1"
        )
        outcome = jobs.run(name, ask or Ask())
        assert outcome is not None
        assert outcome.outcome == "ok", outcome.error
        return outcome.rows

    def mails(self, to: str | None = None) -> list[Mail]:
        """Send what is due and return all mails, oldest first, or those to one address."""
        self.send_mail()
        paths = sorted(self.mail_dir.glob("*.eml")) if self.mail_dir.exists() else []
        found = [Mail(path) for path in paths]
        return [mail for mail in found if to in {None, mail.to}]

    def link(self, to: str) -> str:
        """Send what is due and return the token of the newest link to an address."""
        tokens = [mail.token for mail in self.mails(to) if mail.token]
        assert tokens, "there is no mail with a link"
        return tokens[-1]


class Mail:
    """A mail as it was sent."""

    def __init__(self, path: Path) -> None:
        found = message_from_bytes(path.read_bytes(), policy=policy.default)
        self.to = str(found["To"])
        self.subject = str(found["Subject"])
        self.text = str(found.get_content())
        match = re.search(r"#token=(\S+)", self.text)
        self.token = match[1] if match else None


def new_email() -> str:
    """Return an address that nobody has."""
    return f"{uuid.uuid4()}@example.org"


def auth_jobs(db: Database) -> AuthJobs:
    """Return what the catalogue of jobs needs, for tests of the others."""
    tokens = OneTimeTokens({"made": bytes(32)})
    outbox = MailOutbox(db, ConsoleMailer("no-reply@example.org"), tokens, "https://shop.example")
    settings = SigningSettings(alg="EdDSA", ttl_s=600, max_age_s=300)
    keys = SigningKeys(db, SealedKeys({"old": bytes(32)}), settings)
    return AuthJobs(outbox=outbox, purge=AuthPurge(db, 7), signing_keys=keys)

"""The service in front of a legacy shop, in any phase of a move."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

import bcrypt
import pytest

from legacy.canonical import uuid8
from services.one_time_tokens import OneTimeToken, OneTimeTokens
from tests.legacy.maps import shop
from tests.legacy.sample_rows import soon, user
from tests.world import Session, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from uuid import UUID

    from legacy.parts import Parts

PASSWORD = "correct horse battery"
PAYER = str(uuid8("default", "users", "1"))


class Shop(World):
    """The service over a legacy store in memory, with one customer."""

    operator: Session
    other_operator: UUID

    @property
    def parts(self) -> Parts:
        return cast("Parts", self.app.extensions["legacy"])

    def store(self, domain: str = "payments") -> Any:
        return self.parts.links.get("default", domain).store

    def rows_of(self, domain: str = "payments") -> dict[str, Any]:
        store = self.store(domain)
        return dict(store.get_many(store.scan_ids(None, 100)))

    def program_writes(self, legacy_id: str, domain: str = "payments", **changes: Any) -> None:
        """Change a row as the legacy program does: past us."""
        before = self.store(domain).get_many([legacy_id])[legacy_id]
        op_id = f"program{before.version}"
        self.store(domain).replace({**before.row, **changes}, before.version, op_id, soon())

    def token_of(self, legacy_id: str) -> str:
        """Log a user of legacy in, and return the access token."""
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
        self.program_writes(legacy_id, "users", legacy_password_hash=hashed)
        email = self.store("users").get_many([legacy_id])[legacy_id].row["email"]
        return str(self.log_in(PASSWORD, email).json["access_token"])

    def use_link(self, purpose: str, path: str, body: dict[str, Any]) -> Any:
        """Send a link's token, which follows from its row, with what goes along."""
        ((user_id, nonce, key_id),) = self.rows(
            "SELECT user_id, nonce, master_key_id FROM one_time_tokens WHERE purpose = %s", purpose
        )
        tokens = OneTimeTokens(self.services.config.subkeys("one-time"))
        token = tokens.write(OneTimeToken(key_id, "default", user_id, purpose, nonce))
        return self.app.test_client().post(path, json={"token": token, **body})

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds."""
        end = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < end
            time.sleep(0.05)

    def in_phase(self, phase: int) -> None:
        """Put both domains into a phase, past its gates."""
        self.rows("UPDATE migration_state SET phase = %s RETURNING 1", phase)

    def log_in(self, password: str, email: str = "user1@example.org") -> Any:
        """Log in over HTTP."""
        body = {"email": email, "password": password}
        return self.app.test_client().post("/v1/auth/login", json=body)

    def asked(self, method: str, path: str, token: str, body: Any = None) -> Any:
        """Ask as whoever holds this access token."""
        headers = {"Authorization": f"Bearer {token}"}
        return self.app.test_client().open(
            path, method=method, json=body, headers=headers, buffered=True
        )


@pytest.fixture
def shop_world(
    database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: Callable[..., None],
) -> Iterator[Callable[..., Shop]]:
    """`shop_world(phase, NAME=...)`: both domains in that phase; the customer is legacy's."""
    config = tmp_path / "legacy.toml"
    config.write_text(shop('adapter = "memory"'))
    monkeypatch.setenv("LEGACY_CONFIG", str(config))
    monkeypatch.setenv("LEGACY_GRACE_MS", "0")
    made: list[Shop] = []

    def make(phase: int, shadow: int = 0, **settings: str) -> Shop:
        monkeypatch.setenv("LEGACY_SHADOW_PERCENT", str(shadow))
        world = Shop(database, tmp_path, **settings)
        made.append(world)
        # Before the gate: operators live here, whatever legacy has.
        world.operator = world.new_session("operator")
        world.other_operator = world.new_session("operator").user_id
        world.store("users").create(user("1"), "op", soon())
        for domain in ("users", "payments"):
            owner(f"SELECT legacy_switch('{domain}', true)")
            owner(
                "INSERT INTO migration_state (tenant_id, domain, phase, moved_by, adapter,"
                " ledger_enabled) VALUES ('default', %s, %s, 'test', 'memory', true)",
                domain,
                phase,
            )
        if phase > 1:
            owner(
                "INSERT INTO mirror_marks (tenant_id, domain, entity_id, origin)"
                " VALUES ('default', 'users', '1', 'test')"
            )
            world.parts.mirror.run_once()
        world.user_id = PAYER
        return world

    yield make
    for world in made:
        world.parts.links.close()
        world.close()

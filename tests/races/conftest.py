"""Services and clients that wait longer than those of other tests: no race fails on a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.world import PATIENT, World, new_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.world import Reply


class PatientWorld(World):
    """Sends a request again, under its key, while the service is too busy: so do clients."""

    def get(self, path: str, **headers: str) -> Reply:
        """GET."""
        return _told(lambda: World.get(self, path, **headers))

    def post(
        self,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        key: str | None = None,
        keyed: bool = True,
        **headers: str,
    ) -> Reply:
        """POST; what is not keyed may be repeated too."""
        fixed = key or new_key()
        return _told(lambda: World.post(self, path, body, key=fixed, keyed=keyed, **headers))

    def patch(self, path: str, body: dict[str, Any], **headers: str) -> Reply:
        """PATCH."""
        fixed = {"Idempotency_Key": new_key(), **headers}
        return _told(lambda: World.patch(self, path, body, **fixed))


def _told(send: Callable[[], Reply]) -> Reply:
    while (answer := send()).status_code == 503:
        assert answer.json["retryable"], answer.json
    return answer


@pytest.fixture
def world(database: str, tmp_path: Path) -> Iterator[World]:
    """The service over a fresh database, without Redis."""
    made = PatientWorld(database, tmp_path, **PATIENT)
    yield made
    made.close()


@pytest.fixture
def cached_world(database: str, kv_url: str, tmp_path: Path) -> Iterator[World]:
    """The service over a fresh database, with Redis."""
    made = PatientWorld(database, tmp_path, kv_url, REDIS_TIMEOUT_MS="5000", **PATIENT)
    made.services.kv.open()
    assert made.services.kv.wait_for("closed", 30)
    yield made
    made.close()

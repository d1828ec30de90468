"""Clients of exports that go away, over gunicorn: their connections to the database end (OS1)."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import psycopg
import pytest

from persistence.embedded_process import wait_until
from persistence.migrator import MigrationSettings, apply_all
from tests.blueprints.test_payment_exports import EXPORTS, MANY
from tests.faults.service import Client, Service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from persistence.embedded import EmbeddedServers

# More than all the buffers between a cursor and a client hold: 30 MB.
ROWS = 20_000


@pytest.fixture
def service(own_servers: EmbeddedServers, tmp_path: Path) -> Iterator[Service]:
    """Gunicorn over a book of many payments."""
    assert own_servers.owner_url is not None
    apply_all(MigrationSettings(database_url=own_servers.owner_url))
    with Service(own_servers, tmp_path / "app", None) as started:
        with psycopg.connect(own_servers.owner_url, autocommit=True) as conn:
            conn.execute(MANY, [started.user_id, 1, ROWS])
        yield started


def test_a_cut_connection_frees_the_database(service: Service) -> None:
    """However many clients are cut in the middle, the next is served."""
    with psycopg.connect(service.database_url, autocommit=True) as conn:

        def running() -> int:
            row = conn.execute(EXPORTS).fetchone()
            assert row is not None
            return int(row[0])

        for _ in range(3):
            with socket.create_connection(("127.0.0.1", service.port)) as cut:
                head = f"GET /v1/payments/export HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.api_key}\r\n\r\n"  # noqa: E501
                cut.sendall(head.encode())
                assert cut.recv(12) == b"HTTP/1.1 200"
                assert running() == 1
            assert wait_until(lambda: running() == 0, 60)
    client = Client(service)
    status, length, last = client.export()
    client.close()
    assert (status, last["count"]) == (200, ROWS)
    assert length > ROWS * 1_000

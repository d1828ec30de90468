"""Copies of checkpoints: in a folder and at a URL, whole, and again until they are there (LM6)."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from services.checkpoint_copies import Copies

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAY = datetime(2026, 1, 31, 23, 59, tzinfo=UTC)


class Receiver(BaseHTTPRequestHandler):
    """Keeps what is put, and answers with `status`."""

    got: list[tuple[str, str, str | None]]
    status = 201

    def do_PUT(self) -> None:  # The name is http.server's.
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.got.append((self.path, body, self.headers["Content-Type"]))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def receiving(status: int = 201) -> Iterator[tuple[str, list[tuple[str, str, str | None]]]]:
    got: list[tuple[str, str, str | None]] = []
    handler = type("Handler", (Receiver,), {"got": got, "status": status})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/log", got
        finally:
            server.shutdown()
            thread.join()


def test_the_folder_has_the_newest_and_one_of_each_day(tmp_path: Path) -> None:
    """LM6: a file is whole or not there; nothing else lies about."""
    copies = Copies(tmp_path / "made")
    assert copies.newest("acme") is None
    copies.publish("acme", 1, "one\n", DAY)
    copies.publish("acme", 2, "two\n", DAY)
    copies.publish("acme", 3, "three\n", DAY.replace(month=2, day=1))

    assert copies.newest("acme") == "three\n"
    texts = {path.name: path.read_text() for path in (tmp_path / "made" / "acme").iterdir()}
    assert texts == {
        "checkpoint": "three\n",
        "checkpoint-2026-01-31": "two\n",
        "checkpoint-2026-02-01": "three\n",
    }
    assert copies.newest("other") is None


def test_the_url_gets_each_checkpoint_once() -> None:
    """LM6: by PUT, under the tenant's name."""
    with receiving() as (url, got):
        copies = Copies(url=url)
        assert copies.lacks("acme", 7)
        copies.publish("acme", 7, "note é\n", DAY)
        assert not copies.lacks("acme", 7)
        assert copies.lacks("acme", 8)
        assert copies.lacks("other", 7)
    assert got == [("/log/acme/checkpoint", "note é\n", "text/plain; charset=utf-8")]


@pytest.mark.parametrize("status", [404, 500])
def test_what_was_not_taken_is_tried_again(status: int) -> None:
    """LM6: a warning, and the sealing goes on."""
    with receiving(status) as (url, got), capture_logs() as lines:
        copies = Copies(url=url)
        copies.publish("acme", 7, "note\n", DAY)
        assert copies.lacks("acme", 7)
    assert len(got) == 1
    assert [line["event"] for line in lines] == ["checkpoint.unpublished"]


def test_a_place_that_is_away_is_tried_again(tmp_path: Path) -> None:
    """LM6: nobody listens, or there is no such folder."""
    (tmp_path / "file").write_text("")
    for copies in (Copies(url="http://127.0.0.1:1"), Copies(tmp_path / "file" / "in")):
        with capture_logs() as lines:
            copies.publish("acme", 7, "note\n", DAY)
        assert copies.lacks("acme", 7)
        assert [line["event"] for line in lines] == ["checkpoint.unpublished"]


def test_without_a_place_there_is_nothing_to_do() -> None:
    """LM6: both settings are none by default."""
    assert not Copies().lacks("acme", 7)
    assert Copies().newest("acme") is None

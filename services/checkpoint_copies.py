"""Copies of checkpoints outside of the database: what protects against its administrator (LM6).

A folder holds `<tenant>/checkpoint`, the newest, and one for each day; a URL gets the newest by
PUT under the same name.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

from observability import log

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

NAME = "checkpoint"
TIMEOUT_S = 5


class Copies:
    """Where checkpoints go; with neither place they stay in the database alone."""

    def __init__(self, folder: Path | None = None, url: str | None = None) -> None:
        """`url`: http or https, without a slash at its end."""
        self._folder = folder
        self._url = url
        self._sent: dict[str, int] = {}

    def newest(self, tenant_id: str) -> str | None:
        """Return the newest note in the folder; None: there is none. Raises OSError."""
        if self._folder is None:
            return None
        with suppress(FileNotFoundError):
            return (self._folder / tenant_id / NAME).read_text("utf-8", errors="replace")
        return None

    def lacks(self, tenant_id: str, size: int) -> bool:
        """Tell whether the checkpoint of this size, 0 for none, is still to be published."""
        is_used = self._folder is not None or self._url is not None
        return is_used and self._sent.get(tenant_id, 0) < size

    def publish(self, tenant_id: str, size: int, note: str, signed_at: datetime) -> None:
        """Put a note into all places; one that does not take it is tried again next time."""
        try:
            self._write(tenant_id, note, signed_at)
            self._put(tenant_id, note)
        except OSError as error:  # URLError is one.
            log.warning("checkpoint.unpublished", tenant_id=tenant_id, error=str(error))
            return
        self._sent[tenant_id] = size

    def _write(self, tenant_id: str, note: str, signed_at: datetime) -> None:
        if self._folder is None:
            return
        folder = self._folder / tenant_id
        folder.mkdir(parents=True, exist_ok=True)
        for name in (f"{NAME}-{signed_at:%Y-%m-%d}", NAME):
            _replace(folder / name, note)

    def _put(self, tenant_id: str, note: str) -> None:
        if self._url is None:
            return
        request = Request(  # noqa: S310  # The settings allow http and https only.
            f"{self._url}/{tenant_id}/{NAME}",
            data=note.encode(),
            method="PUT",
            headers={"Content-Type": "text/plain; charset=utf-8"},
        )
        with urlopen(request, timeout=TIMEOUT_S):  # noqa: S310  # As above.
            pass


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all, and durably: it may be all that is left one day."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)

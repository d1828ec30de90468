"""The release, as /healthz, the migration history and replay runs name it."""

from __future__ import annotations

from pathlib import Path

VERSION = "0.1.0"
ROOT = Path(__file__).resolve().parent


def checked_out(root: Path = ROOT) -> str | None:
    """Return the commit that `root` has checked out; None: it is no git repository.

    Read from the files, since a host that serves needs no git (gitrepository-layout).
    """
    try:
        folder = root / ".git"
        if folder.is_file():  # A work tree: its HEAD is its own, the branches are shared.
            folder = root / folder.read_text().removeprefix("gitdir: ").strip()
        head = (folder / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        shared = folder / "commondir"
        common = folder / shared.read_text().strip() if shared.is_file() else folder
        return _branch(common, head.removeprefix("ref: "))
    except OSError:
        return None


def _branch(folder: Path, ref: str) -> str | None:
    loose = folder / ref
    if loose.is_file():
        return loose.read_text().strip()
    packed = (line.split() for line in (folder / "packed-refs").read_text().splitlines())
    return next((words[0] for words in packed if words[1:] == [ref]), None)

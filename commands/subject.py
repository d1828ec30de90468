"""Who runs a command, for the audit log."""

from __future__ import annotations

import getpass
import os


def subject() -> str:
    """Return `cli:` and the login name, else the number of the user."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # A container's user without a name: 3.11 or 3.13.
        return f"cli:{os.getuid()}"

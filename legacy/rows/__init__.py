"""One function, one SQL file of legacy/sql, one row type: as repos/ does for sql/."""

from __future__ import annotations

from pathlib import Path

SQL = Path(__file__).resolve().parent.parent / "sql"

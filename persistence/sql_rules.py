"""Rules of the catalogue that the text of a file shows, without asking a server."""

from __future__ import annotations

import re

from persistence.sql_files import SqlFile, bare

_RULES = (
    (
        r"\b(?:select|returning|distinct)\s+\*|,\s*\*|\b[a-z_]\w*\.\*",
        "columns are named: after ADD COLUMN a prepared * fails (AQ6)",
    ),
    (
        r"::\s*(?:numeric|decimal|real|double\s+precision|float\d?|money)\b",
        "no float and no numeric (AQ9)",
    ),
    (
        r"\b(?:current_(?:timestamp|time|date)|localtime(?:stamp)?|(?:statement|transaction)_timestamp)\b",
        "times the database records are now() (AQ12)",
    ),
    (
        r"\bpg_(?:try_)?advisory_lock\w*",
        "no lock of a session: PgBouncer may stand between (DB_POOLER)",
    ),
)
_CLOCK = re.compile(r"\bclock_timestamp\s*\(", re.IGNORECASE)


def faults(file: SqlFile) -> list[str]:
    """Return which rules the text of a file breaks."""
    code = bare(file.query)
    found = [fault for rule, fault in _RULES if re.search(rule, code, re.IGNORECASE)]
    records = file.kind == "write" and not re.search(r"\bposted_at\b", code)
    if records and _CLOCK.search(code):
        found.append("only posted_at is the clock, all else is now() (AQ12, LP4)")
    return found

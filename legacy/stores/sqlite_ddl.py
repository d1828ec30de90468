"""What `flask legacy prepare --sql` prints for SQLite: tables beside the legacy one, and triggers.

The legacy table is not altered (D23). A connection of ours says who it is by a row that only its
own transaction sees, since SQLite has one writer at a time.
"""

from __future__ import annotations

TABLES = """\
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS strongroom_mirror (
    domain TEXT NOT NULL,
    entity_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    op_id TEXT,
    deleted INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (domain, entity_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS strongroom_queue (
    batch_id INTEGER PRIMARY KEY AUTOINCREMENT,
    domain TEXT NOT NULL,
    entity_id TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS strongroom_state (
    domain TEXT PRIMARY KEY,
    ours INTEGER NOT NULL DEFAULT 0,
    fenced INTEGER NOT NULL DEFAULT 0
);
INSERT OR IGNORE INTO strongroom_state (domain) VALUES ('{domain}');
"""
# An INSERT OR REPLACE fires no trigger for the row that it replaces: the first one sees it.
TRIGGERS = """\
CREATE TRIGGER IF NOT EXISTS strongroom_{domain}_replace BEFORE INSERT ON "{table}"
WHEN EXISTS (SELECT 1 FROM "{table}" WHERE "{id}" = NEW."{id}")
    AND NOT (SELECT ours FROM strongroom_state WHERE domain = '{domain}')
BEGIN
    INSERT INTO strongroom_mirror (domain, entity_id, version)
    VALUES ('{domain}', CAST(NEW."{id}" AS TEXT), 2)
    ON CONFLICT (domain, entity_id) DO UPDATE SET version = version + 1, op_id = NULL;
END;
CREATE TRIGGER IF NOT EXISTS strongroom_{domain}_insert AFTER INSERT ON "{table}"
WHEN NOT (SELECT ours FROM strongroom_state WHERE domain = '{domain}')
BEGIN
    SELECT RAISE(ABORT, 'strongroom: fenced') FROM strongroom_state
    WHERE domain = '{domain}' AND fenced;
    UPDATE strongroom_mirror SET version = version + 1, op_id = NULL, deleted = 0
    WHERE domain = '{domain}' AND entity_id = CAST(NEW."{id}" AS TEXT) AND deleted;
    INSERT INTO strongroom_queue (domain, entity_id)
    VALUES ('{domain}', CAST(NEW."{id}" AS TEXT));
END;
CREATE TRIGGER IF NOT EXISTS strongroom_{domain}_update AFTER UPDATE ON "{table}"
WHEN NOT (SELECT ours FROM strongroom_state WHERE domain = '{domain}')
BEGIN
    SELECT RAISE(ABORT, 'strongroom: fenced') FROM strongroom_state
    WHERE domain = '{domain}' AND fenced;
    INSERT INTO strongroom_mirror (domain, entity_id, version, deleted)
    SELECT '{domain}', CAST(OLD."{id}" AS TEXT), 2, 1 WHERE OLD."{id}" IS NOT NEW."{id}"
    ON CONFLICT (domain, entity_id) DO UPDATE SET
        version = version + 1, op_id = NULL, deleted = 1;
    INSERT INTO strongroom_queue (domain, entity_id)
    SELECT '{domain}', CAST(OLD."{id}" AS TEXT) WHERE OLD."{id}" IS NOT NEW."{id}";
    INSERT INTO strongroom_mirror (domain, entity_id, version)
    VALUES ('{domain}', CAST(NEW."{id}" AS TEXT), 2)
    ON CONFLICT (domain, entity_id) DO UPDATE SET
        version = version + 1, op_id = NULL, deleted = 0;
    INSERT INTO strongroom_queue (domain, entity_id)
    VALUES ('{domain}', CAST(NEW."{id}" AS TEXT));
END;
CREATE TRIGGER IF NOT EXISTS strongroom_{domain}_delete AFTER DELETE ON "{table}"
WHEN NOT (SELECT ours FROM strongroom_state WHERE domain = '{domain}')
BEGIN
    SELECT RAISE(ABORT, 'strongroom: fenced') FROM strongroom_state
    WHERE domain = '{domain}' AND fenced;
    INSERT INTO strongroom_mirror (domain, entity_id, version, deleted)
    VALUES ('{domain}', CAST(OLD."{id}" AS TEXT), 2, 1)
    ON CONFLICT (domain, entity_id) DO UPDATE SET
        version = version + 1, op_id = NULL, deleted = 1;
    INSERT INTO strongroom_queue (domain, entity_id)
    VALUES ('{domain}', CAST(OLD."{id}" AS TEXT));
END;
"""


def prepare_sql(domain: str, table: str, id_column: str, *, capture: bool) -> str:
    """Return the statements for the legacy side; they may be run again. Names are identifiers."""
    names = {"domain": domain, "table": table, "id": id_column}
    return TABLES.format(**names) + (TRIGGERS.format(**names) if capture else "")

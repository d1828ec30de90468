"""What `flask legacy prepare --sql` prints for PostgreSQL: tables, triggers and a fence (D30, D31).

The owner of the legacy table runs it. The table's columns are not altered. A session of ours says
who it is by the setting `strongroom.mirror`.
"""

from __future__ import annotations

from legacy.canonical_sql import identifier, quote

TABLES = """\
CREATE TABLE IF NOT EXISTS {mirror} (
    domain text COLLATE "C" NOT NULL,
    entity_id text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    op_id text,
    deleted boolean NOT NULL DEFAULT false,
    PRIMARY KEY (domain, entity_id)
);
CREATE TABLE IF NOT EXISTS {queue} (
    batch_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    domain text COLLATE "C" NOT NULL,
    entity_id text COLLATE "C" NOT NULL
);
GRANT SELECT, INSERT, UPDATE, DELETE ON {mirror} TO {role};
GRANT SELECT, DELETE ON {queue} TO {role};
"""
# The functions run as their owner: the legacy program's role needs no right on our tables.
TRIGGERS = """\
CREATE OR REPLACE FUNCTION {capture}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF current_setting('strongroom.mirror', true) = 'on' THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO {mirror} AS m (domain, entity_id, version, deleted)
        SELECT {domain}, l.{id}::text, 2, true FROM {table} AS l
        ON CONFLICT (domain, entity_id) DO UPDATE SET
            version = m.version + 1, op_id = NULL, deleted = true;
        INSERT INTO {queue} (domain, entity_id) SELECT {domain}, l.{id}::text FROM {table} AS l;
        RETURN NULL;
    END IF;
    IF TG_OP = 'DELETE' OR (TG_OP = 'UPDATE' AND OLD.{id} IS DISTINCT FROM NEW.{id}) THEN
        INSERT INTO {mirror} AS m (domain, entity_id, version, deleted)
        VALUES ({domain}, OLD.{id}::text, 2, true)
        ON CONFLICT (domain, entity_id) DO UPDATE SET
            version = m.version + 1, op_id = NULL, deleted = true;
        INSERT INTO {queue} (domain, entity_id) VALUES ({domain}, OLD.{id}::text);
    END IF;
    IF TG_OP = 'INSERT' THEN
        UPDATE {mirror} AS m SET version = m.version + 1, op_id = NULL, deleted = false
        WHERE m.domain = {domain} AND m.entity_id = NEW.{id}::text AND m.deleted;
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO {mirror} AS m (domain, entity_id, version)
        VALUES ({domain}, NEW.{id}::text, 2)
        ON CONFLICT (domain, entity_id) DO UPDATE SET
            version = m.version + 1, op_id = NULL, deleted = false;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO {queue} (domain, entity_id) VALUES ({domain}, NEW.{id}::text);
    END IF;
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER strongroom_capture AFTER INSERT OR UPDATE OR DELETE ON {table}
FOR EACH ROW EXECUTE FUNCTION {capture}();
CREATE OR REPLACE TRIGGER strongroom_capture_truncate BEFORE TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION {capture}();

-- A disabled trigger costs the legacy program nothing. Enabling it waits for writers under way,
-- keeps new ones waiting, and is seen by every session whatever its snapshot.
CREATE OR REPLACE FUNCTION {refuse}() RETURNS trigger LANGUAGE plpgsql
AS $$
BEGIN
    IF current_setting('strongroom.mirror', true) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION 'strongroom: fenced';
    END IF;
    RETURN NULL;
END
$$;
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_trigger AS t
        WHERE t.tgrelid = {table_text}::regclass AND t.tgname = 'strongroom_fence'
    ) THEN
        CREATE TRIGGER strongroom_fence
        BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}
        FOR EACH STATEMENT EXECUTE FUNCTION {refuse}();
        ALTER TABLE {table} DISABLE TRIGGER strongroom_fence;
    END IF;
END
$$;
CREATE OR REPLACE FUNCTION {switch}(fenced boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF fenced THEN
        ALTER TABLE {table} ENABLE ALWAYS TRIGGER strongroom_fence;
    ELSE
        ALTER TABLE {table} DISABLE TRIGGER strongroom_fence;
    END IF;
END
$$;
REVOKE ALL ON FUNCTION {switch}(boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {switch}(boolean) TO {role};
"""


def beside(table: str, name: str) -> str:
    """Return a name of ours in the schema of the legacy table, quoted."""
    schema, _, _ = table.rpartition(".")
    return identifier(f"{schema}.{name}" if schema else name)


def prepare_sql(domain: str, table: str, id_column: str, role: str, *, capture: bool) -> str:
    """Return the statements for the legacy side; they may be run again.

    `table` with its schema; `role` is the one that we connect as. Names are identifiers.
    """
    names = {
        "domain": quote(domain),
        "table": identifier(table),
        "table_text": quote(identifier(table)),
        "id": identifier(id_column),
        "role": identifier(role),
        "mirror": beside(table, "strongroom_mirror"),
        "queue": beside(table, "strongroom_queue"),
        "capture": beside(table, f"strongroom_{domain}_capture"),
        "refuse": beside(table, f"strongroom_{domain}_refuse"),
        "switch": beside(table, f"strongroom_{domain}_switch"),
    }
    return TABLES.format(**names) + (TRIGGERS.format(**names) if capture else "")

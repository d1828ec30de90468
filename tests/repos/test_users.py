"""The table of users refuses what no user can be."""

from __future__ import annotations

import psycopg
import pytest

COLUMNS = "tenant_id, id, email, email_norm, status, version, legacy_id"
ADA = "('default', gen_random_uuid(), 'Ada@x.de', 'ada@x.de', 'active', 1, 'old-1')"
INSERT = f"INSERT INTO users ({COLUMNS}) VALUES "


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"'default'": "'nobody'"}, "users_tenant_fkey"),
        ({"'old-1'": "NULL"}, "users_email_key"),
        ({"'ada@x.de'": "'bob@x.de'"}, "users_legacy_id_key"),
        ({"'active'": "'asleep'"}, "users_status_check"),
        ({"1,": "0,"}, "users_version_check"),
        ({"'Ada@x.de', 'ada@x.de'": "NULL, NULL"}, "users_email_check"),
        ({"'ada@x.de'": "NULL"}, "users_email_check"),
        ({"'ada@x.de'": "repeat('é', 127) || 'x'"}, "users_email_length_check"),
        ({"'Ada@x.de'": "repeat('x', 255)"}, "users_email_length_check"),
    ],
)
def test_a_wrong_user_cannot_be_stored(
    database_owner: str, changes: dict[str, str], constraint: str
) -> None:
    """A2, and section 11 of the auth page."""
    wrong = ADA
    for old, new in changes.items():
        wrong = wrong.replace(old, new)
    with psycopg.connect(database_owner) as conn:
        conn.execute((INSERT + ADA).encode())
        with pytest.raises(psycopg.IntegrityError) as caught:
            conn.execute((INSERT + wrong).encode())
    assert caught.value.diag.constraint_name == constraint


def test_an_erased_user_keeps_its_id_and_frees_its_address(database_owner: str) -> None:
    """Erasing empties what names the person; two erased users do not collide."""
    erased = ADA.replace("'Ada@x.de', 'ada@x.de', 'active'", "NULL, NULL, 'deleted'")
    with psycopg.connect(database_owner) as conn:
        conn.execute((INSERT + ADA).encode())
        for number in range(2):
            conn.execute((INSERT + erased.replace("old-1", f"old-{number + 2}")).encode())
        assert conn.execute("SELECT count(*) FROM users").fetchone() == (3,)

"""The table of tenants refuses what no tenant can be."""

from __future__ import annotations

import psycopg
import pytest


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        ("('Acme', 'Acme', 'active')", "tenants_tenant_id_check"),
        ("('a_b', 'Acme', 'active')", "tenants_tenant_id_check"),
        ("('-', 'Acme', 'active')", "tenants_tenant_id_check"),
        (f"('{'a' * 33}', 'Acme', 'active')", "tenants_tenant_id_check"),
        ("('acme', '', 'active')", "tenants_name_check"),
        ("('acme', 'Acme', 'closed')", "tenants_status_check"),
        ("('default', 'Acme', 'active')", "tenants_pkey"),
    ],
)
def test_a_wrong_tenant_cannot_be_stored(database_owner: str, values: str, constraint: str) -> None:
    with psycopg.connect(database_owner) as conn, pytest.raises(psycopg.IntegrityError) as caught:
        conn.execute(f"INSERT INTO tenants (tenant_id, name, status) VALUES {values}".encode())
    assert caught.value.diag.constraint_name == constraint

"""Rows, digests and hashes as PostgreSQL computes them (V1, V2): what is sent to compare a side.

Each value is computed once: a subquery with OFFSET 0 is not merged into the one around it, and
still runs in parallel. Merged, every value would be computed for its length and for its bytes,
and every hash once for each of its bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from legacy.canonical_sql import Expression, identifier, legacy_columns, our_columns

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from legacy.columns import ColumnMap
    from legacy.transforms import Mapped

_KEY_HASH = "sha256(convert_to(r.key, 'UTF8'))"
_PAIR = "get_byte(k.key_hash, 0) * 256 + get_byte(k.key_hash, 1)"
# The first eight bytes as a signed number.
_SIGNED = " | ".join(f"(get_byte(k.hash, {n})::bigint << {56 - 8 * n})" for n in range(8))

# --- Rows ---------------------------------------------------------------------------------------


def legacy_rows(mapping: ColumnMap, types: Mapping[str, str] | None = None) -> str:
    """Return a query of key (text) and hash (bytea) of every row of the legacy table.

    `types`: of its columns, by name, if they are known.
    """
    key = f"l.{identifier(mapping.id_source)}::text"
    columns = legacy_columns(mapping, types)
    return _rows(mapping, key, columns, f"{identifier(mapping.config.table)} AS l")


def our_rows(mapping: ColumnMap, tenant: str) -> str:
    """Return the same of our table; `tenant` is the parameter or literal of the tenant's id."""
    return _rows(mapping, "o.legacy_id::text", our_columns(mapping), our_table(mapping, tenant))


def our_table(mapping: ColumnMap, tenant: str) -> str:
    """Return what stands behind FROM: our rows that legacy may have, called `o`."""
    joined = ""
    if mapping.domain == "payments":
        joined = " LEFT JOIN users AS u ON u.tenant_id = o.tenant_id AND u.id = o.user_id"
    condition = f"o.tenant_id = {tenant} AND o.legacy_id IS NOT NULL"
    # Of an erased user new keeps the id, and legacy nothing (D25).
    status = mapping.by_name.get("status")
    if mapping.domain == "users" and not (status and "deleted" in (status.words or {}).values()):
        condition += " AND o.status <> 'deleted'"
    return f"{mapping.domain} AS o{joined} WHERE {condition}"


def _rows(mapping: ColumnMap, key: str, columns: dict[str, Expression], table: str) -> str:
    values, parts = [f"{key} AS key"], []
    for number, mapped in enumerate(mapping.compared):
        column = columns[mapped.ours.name]
        values.append(f"{_value(mapped, column)} AS v{number}")
        given = f"v.v{number} IS NULL"
        if column.text != column.given:
            values.append(f"{column.given} IS NULL AS n{number}")
            given = f"v.n{number}"
        parts.append(_encoded(mapped, f"v.v{number}", given))
    hashed = " || ".join(["sha256('SR1'::bytea", *parts]) + ")"
    return (
        f"SELECT v.key, {hashed} AS hash FROM"
        f" (SELECT {', '.join(values)} FROM {table} OFFSET 0) AS v"
    )


def _value(mapped: Mapped, column: Expression) -> str:
    """Return a column's text as bytes; of metadata all that it is encoded to."""
    if mapped.how == "metadata":
        return _pairs(column.text)
    return f"convert_to({column.text}, 'UTF8')"


def _encoded(mapped: Mapped, value: str, is_null: str) -> str:
    """Return the bytes of a column in the canonical row (V1)."""
    whole = value if mapped.how == "metadata" else _measured(value)
    return (
        rf"CASE WHEN {is_null} THEN '\x00'::bytea"
        rf" WHEN {value} IS NULL THEN '\x03'::bytea ELSE {whole} END"
    )


def _measured(data: str) -> str:
    return rf"'\x01'::bytea || int4send(octet_length({data})) || {data}"


def _pairs(text: str) -> str:
    name, value = "convert_to(j.key, 'UTF8')", "convert_to(j.value, 'UTF8')"
    pair = f"{_measured(name)} || {_measured(value)}"
    return (
        rf"(SELECT '\x02'::bytea || int4send(count(j.key)::integer)"
        rf" || coalesce(string_agg({pair}, ''::bytea ORDER BY j.key COLLATE "
        "\"C\"), ''::bytea)"
        f" FROM jsonb_each_text(({text})::jsonb) AS j HAVING ({text}) IS NOT NULL)"
    )


# --- What is asked of them ----------------------------------------------------------------------


def digest(rows: str, prefix: bytes) -> str:
    """Return a query of bucket, rows and sum: by the byte after `prefix` of the key's hash."""
    return _summed(rows, f"get_byte(k.key_hash, {len(prefix)})", _begins(prefix))


def deep_digest(rows: str, buckets: Collection[int]) -> str:
    """Return the same by the first two bytes, of keys whose first is among `buckets`."""
    return _summed(rows, _PAIR, _among("get_byte(k.key_hash, 0)", buckets))


def hashes(rows: str, prefix: bytes) -> str:
    """Return a query of key and hash of the rows whose key's hash begins with `prefix`."""
    return _listed(rows, _begins(prefix))


def hashes_in(rows: str, pairs: Collection[int]) -> str:
    """Return the same of the rows whose key's hash has its first two bytes among `pairs`."""
    return _listed(rows, _among(_PAIR, pairs))


def _summed(rows: str, bucket: str, condition: str) -> str:
    return (
        "SELECT d.bucket, count(*), sum(d.signed) FROM"
        f" (SELECT {bucket} AS bucket, {_SIGNED} AS signed FROM {_keyed(rows)}"
        f" WHERE {condition} OFFSET 0) AS d GROUP BY d.bucket"
    )


def _listed(rows: str, condition: str) -> str:
    return f"SELECT k.key, k.hash FROM {_keyed(rows)} WHERE {condition}"


def _keyed(rows: str) -> str:
    return f"(SELECT r.key, r.hash, {_KEY_HASH} AS key_hash FROM ({rows}) AS r OFFSET 0) AS k"


def _among(number: str, wanted: Collection[int]) -> str:
    listed = ",".join(str(int(each)) for each in sorted(wanted))
    return f"{number} = ANY('{{{listed}}}'::integer[])"


def _begins(prefix: bytes) -> str:
    if not prefix:
        return "true"
    return rf"substring(k.key_hash FROM 1 FOR {len(prefix)}) = '\x{prefix.hex()}'::bytea"

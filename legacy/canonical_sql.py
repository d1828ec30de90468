"""The canonical row, its digest and its totals as PostgreSQL computes them, from a column map (V3).

Each column becomes two expressions: `given`, NULL where the value is NULL, and `text`, our value as
text, NULL where it cannot be read. They follow legacy/transforms.py rule by rule; a legacy column
is cast to text first, so that its type does not matter. Nothing here raises on any row.
Needs PostgreSQL 16 (pg_input_is_valid), and a session whose time zone is UTC.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from legacy.transforms import AMOUNT, FALSE, INTEGER, MOMENT, OFFSET, TRUE, spelt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from legacy.columns import ColumnMap
    from legacy.transforms import Mapped

_TRUNCATED = {"s": "second", "ms": "milliseconds", "us": "microseconds"}


@dataclass(frozen=True, slots=True)
class Expression:
    """A column in SQL: what is NULL if it is, its text, and what its exponent is, for amounts."""

    given: str
    text: str


def quote(text: str) -> str:
    """Return an SQL literal; the server has standard_conforming_strings on, as since 9.1."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """Return a name of a column or, with a dot, of a table, quoted."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split("."))


# --- One column of the legacy table -------------------------------------------------------------


def legacy_columns(
    mapping: ColumnMap, types: Mapping[str, str] | None = None
) -> dict[str, Expression]:
    """Return every mapped column of ours as expressions over the legacy table, called `l`.

    `types`: of its columns, by name. A few of them need not be read by their text, which is slow.
    """
    currency = "NULL::text"
    found = {}
    for name, mapped in _currency_first(mapping):
        given = f"l.{identifier(mapped.source)}::text" if mapped.source else "''"
        given = f"coalesce({given}, '{{}}')" if mapped.how == "metadata" else given
        text = _native(mapped, (types or {}).get(mapped.source, ""))
        found[name] = Expression(given, text or _text_of(mapped, given, currency, mapping))
        if mapped.ours.kind == "currency":
            currency = found[name].text
    return found


def _native(mapped: Mapped, type_: str) -> str | None:
    """Return the text of a column whose type says what its text would say; None: it does not."""
    column = f"l.{identifier(mapped.source)}"
    if mapped.how == "timestamp":
        return _native_moment(mapped, type_, column)
    if type_ != "boolean" or mapped.how not in {"bool", "map"}:
        return None
    words = {"true": "t", "false": "f"} if mapped.how == "bool" else dict(mapped.words or {})
    cases = "".join(
        f" WHEN {column} IS {raw.upper()} THEN {quote(words[raw])}"
        for raw in ("true", "false")
        if raw in words
    )
    return f"CASE{cases} END" if cases else None


def _native_moment(mapped: Mapped, type_: str, column: str) -> str | None:
    if type_ == "timestamp with time zone":
        moment, zone = column, "+00"
    elif type_ == "timestamp without time zone" and mapped.zone is not None:
        moment, zone = f"({column} AT TIME ZONE {quote(mapped.zone)})", ""
    else:
        return None
    # The years that can be read from a text; infinity is none.
    first, end = quote(f"0002-01-01 00:00:00{zone}"), quote(f"9999-01-01 00:00:00{zone}")
    return f"CASE WHEN {column} >= {first} AND {column} < {end} THEN {_micros(moment, mapped)} END"


def _currency_first(mapping: ColumnMap) -> Iterable[tuple[str, Mapped]]:
    return sorted(mapping.by_name.items(), key=lambda item: item[1].ours.kind != "currency")


def _text_of(mapped: Mapped, given: str, currency: str, mapping: ColumnMap) -> str:
    if mapped.how == "const":
        value = mapped.value
        return quote(str(value) if isinstance(value, str) else "t" if value else "f")
    if mapped.how in {"minor", "decimal"}:
        scale = "1" if mapped.how == "minor" else scale_of(currency, mapping)
        return _amount(given, scale)
    return _TEXTS.get(mapped.how, _as_it_is)(mapped, given)


def scale_of(currency: str, mapping: ColumnMap) -> str:
    """Return how many minor units are one major unit; NULL: no such currency, or it has none."""
    codes = defaultdict(list)
    for code, exponent in sorted(mapping.exponents.items()):
        if exponent is not None:
            codes[exponent].append(quote(code))
    cases = "".join(
        f" WHEN {currency} IN ({', '.join(found)}) THEN {10**exponent}"
        for exponent, found in codes.items()
    )
    return f"(CASE{cases} END)" if cases else "NULL::integer"


def _as_it_is(_: Mapped, given: str) -> str:
    return given


def _matching(given: str, pattern: str, then: str) -> str:
    return f"CASE WHEN {given} ~ {quote(f'^({pattern})$')} THEN {then} END"


def _integer(_: Mapped, given: str) -> str:
    return _matching(given, INTEGER, given)


def _flag(_: Mapped, given: str) -> str:
    true, false = (", ".join(map(quote, words)) for words in (TRUE, FALSE))
    return f"CASE WHEN {given} IN ({true}) THEN 't' WHEN {given} IN ({false}) THEN 'f' END"


def _amount(given: str, scale: str) -> str:
    # Evaluated in order: nothing is cast that does not match.
    exact = f"({given})::numeric * {scale}"
    whole = f"CASE WHEN ({exact}) % 1 = 0 THEN trunc({exact})::bigint::text END"
    return _matching(given, AMOUNT, whole)


def _moment(mapped: Mapped, given: str) -> str:
    aware = f"(({given})::timestamptz)"
    cases = f"WHEN {given} ~ {quote(f'^{MOMENT}{OFFSET}$')} AND {_valid(given, 'timestamptz')}"
    sql = f"CASE {cases} THEN {_micros(aware, mapped)}"
    if mapped.zone is not None:
        local = f"(({given})::timestamp AT TIME ZONE {quote(mapped.zone)})"
        cases = f"WHEN {given} ~ {quote(f'^{MOMENT}$')} AND {_valid(given, 'timestamp')}"
        sql += f" {cases} THEN {_micros(local, mapped)}"
    return f"{sql} END"


def _valid(given: str, type_: str) -> str:
    return f"pg_input_is_valid({given}, {quote(type_)})"


def _micros(moment: str, mapped: Mapped) -> str:
    # Microseconds are what there is: nothing to cut.
    cut = f"date_trunc({quote(_TRUNCATED[mapped.precision])}, {moment})"
    cut = moment if mapped.precision == "us" else cut
    return f"(extract(epoch FROM {cut}) * 1000000)::bigint::text"


def _word(mapped: Mapped, given: str) -> str:
    words = dict(mapped.words or {})
    if words.keys() <= {"true", "false"}:
        also = {"1": "true", "t": "true", "0": "false", "f": "false"}
        words |= {text: words[meant] for text, meant in also.items() if meant in words}
    cases = "".join(f" WHEN {quote(text)} THEN {quote(ours)}" for text, ours in words.items())
    return f"CASE {given}{cases} END"


def _metadata(_: Mapped, given: str) -> str:
    """Return the text of flat metadata; that of anything else is NULL."""
    flat = (
        f"CASE WHEN jsonb_typeof({given}::jsonb) = 'object' THEN NOT EXISTS (SELECT FROM"
        f" jsonb_each({given}::jsonb) AS j WHERE jsonb_typeof(j.value) <> 'string') END"
    )
    return f"CASE WHEN {_valid(given, 'jsonb')} THEN CASE WHEN {flat} THEN {given} END END"


_TEXTS: dict[str, Callable[[Mapped, str], str]] = {
    "int": _integer,
    "bool": _flag,
    "timestamp": _moment,
    "map": _word,
    "metadata": _metadata,
}

# --- One column of ours -------------------------------------------------------------------------


def our_columns(mapping: ColumnMap) -> dict[str, Expression]:
    """Return every mapped column as expressions over our table, called `o`, there and back (V3)."""
    return {name: _there_and_back(mapped, mapping) for name, mapped in mapping.by_name.items()}


def _there_and_back(mapped: Mapped, mapping: ColumnMap) -> Expression:
    ours = mapped.ours.sql
    given = f"({ours})::text"
    if mapped.how == "map":
        words, back = mapped.words or {}, mapped.back or {}
        cases = "".join(
            f" WHEN {quote(value)} THEN {quote(words[spelt(raw)])}" for value, raw in back.items()
        )
        return Expression(given, f"CASE {given}{cases} END")
    if mapped.how == "timestamp":
        local = ours
        if mapped.zone is not None:
            zone = quote(mapped.zone)
            local = f"(({ours}) AT TIME ZONE {zone} AT TIME ZONE {zone})"
        return Expression(given, _micros(local, mapped))
    if mapped.how == "decimal":
        known = f"{scale_of('o.currency', mapping)} IS NOT NULL"
        return Expression(given, f"CASE WHEN {known} THEN {given} END")
    if mapped.how == "bool":
        return Expression(given, f"CASE WHEN {ours} THEN 't' ELSE 'f' END")
    if mapped.how == "int":
        return Expression(given, _integer(mapped, given))
    return Expression(given, given)


def totals(mapping: ColumnMap, types: Mapping[str, str] | None = None) -> str:
    """Return a query of status, currency, rows and sum of amounts of the legacy table."""
    columns = legacy_columns(mapping, types)
    return _totals(mapping, columns, f"{identifier(mapping.config.table)} AS l")


def our_totals(mapping: ColumnMap, rows: str) -> str:
    """Return the same over ours, there and back; `rows`: what stands behind FROM."""
    return _totals(mapping, our_columns(mapping), rows)


def _totals(mapping: ColumnMap, columns: dict[str, Expression], rows: str) -> str:
    status = columns["status"].text if "status" in columns else "'active'"
    status = f"coalesce(nullif({status}, ''), '?')"
    currency, amount = "''", "0"
    if mapping.domain == "payments":
        currency = f"coalesce(nullif({columns['currency'].text}, ''), '?')"
        amount = f"coalesce(({columns['amount_minor'].text})::bigint, 0)"
    return f"SELECT {status}, {currency}, count(*), sum({amount}) FROM {rows} GROUP BY 1, 2"


def uuid8(tenant: str, domain: str, legacy_id: str) -> str:
    """Return our id of a legacy id as an expression of expressions, each of type text (D26)."""
    parts = r" || '\x00'::bytea || ".join(
        f"convert_to({part}, 'UTF8')" for part in (tenant, domain, legacy_id)
    )
    first = f"substring(sha256({parts}) FROM 1 FOR 16)"
    version = f"set_byte({first}, 6, get_byte({first}, 6) & 15 | 128)"
    whole = f"set_byte({version}, 8, get_byte({first}, 8) & 63 | 128)"
    return f"encode({whole}, 'hex')::uuid"

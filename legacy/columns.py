"""The column map of one domain: rows of a legacy table to rows of ours, and back (D42, V3).

`LEGACY_CONFIG` is read by legacy/config_file.py; what may stand in a row is in legacy/row_rules.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from legacy import canonical
from legacy.ours import DOMAINS
from legacy.row_rules import derived_amounts, row_faults, value_faults
from legacy.store import RowRejected
from legacy.transforms import UUID_TEXT, Mapped, Unreadable, read, write

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from legacy.row_rules import Fault
    from legacy.store import Row

Raw = dict[str, Any]  # Legacy column names to values as the driver gives them.


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainConfig:
    """A section of LEGACY_CONFIG, found without fault.

    `dsn`: where the store is, a secret; "" for postgres: in our own database. `user_ids`: how the
    ids of users become ours, "uuid" or "uuid8". `columns` are in the order of the canonical row.
    """

    domain: str
    adapter: str
    table: str
    dsn: str
    writers: str
    capture: str | None
    user_ids: str
    columns: tuple[Mapped, ...]

    def __repr__(self) -> str:
        """Leave the DSN out: it may hold a password."""
        return f"DomainConfig({self.domain!r}, {self.adapter!r}, {self.table!r})"


class ColumnMap:
    """A configuration with what else its values depend on: tenant, and exponents of currencies.

    `exponents`: digits after the decimal point by currency; None: no minor unit.
    """

    def __init__(
        self, config: DomainConfig, tenant_id: str, exponents: Mapping[str, int | None]
    ) -> None:
        self.config = config
        self.domain = config.domain
        self.tenant_id = tenant_id
        self.exponents = exponents
        self.by_name = {mapped.ours.name: mapped for mapped in config.columns}
        self.id_source = self.by_name["id"].source

    @property
    def sources(self) -> list[str]:
        """Return the legacy columns, each once, the id first."""
        found = [self.id_source, *(each.source for each in self.config.columns if each.source)]
        return list(dict.fromkeys(found))

    @property
    def compared(self) -> list[Mapped]:
        """Return what the canonical row consists of: neither the key nor constants (V1)."""
        return [each for each in self.config.columns if each.ours.kind != "id" and each.source]

    # --- There ----------------------------------------------------------------------------------

    def read(self, raw: Raw) -> Row:
        """Return our row of a legacy one, checked; RowRejected, of all columns at fault."""
        values, faults = self._values(raw)
        legacy_id = values.get("id")
        if not faults:
            row = self._completed(values)
            faults = [*self._faults(values, row)]
        if faults:
            raise RowRejected(_shown(legacy_id), faults[0][1], _names(faults))
        return self._with_ids(row)

    def _values(self, raw: Raw) -> tuple[Row, list[Fault]]:
        exponent = self._exponent_of(raw)
        values: Row = {}
        faults: list[Fault] = []
        for name, mapped in self.by_name.items():
            try:
                values[name] = read(mapped, raw.get(mapped.source), exponent)
            except Unreadable as exc:
                # An amount in major units is not readable without: the fault is the currency's.
                faults.append(("currency" if exc.code == "currency_unknown" else name, exc.code))
        return values, faults

    def _exponent_of(self, raw: Raw) -> int | None:
        mapped = self.by_name.get("currency")
        if mapped is None:
            return None
        try:
            currency = read(mapped, raw.get(mapped.source))
        except Unreadable:
            return None
        return self.exponents.get(currency)

    def _completed(self, values: Row) -> Row:
        """Return the values with what the map leaves out."""
        ours = DOMAINS[self.domain]
        row = {name: values.get(name, column.default) for name, column in ours.items()}
        if self.domain == "payments":
            amount_minor = values["amount_minor"] or 0
            row |= derived_amounts(values["status"], amount_minor) | values
            row["metadata"] = row["metadata"] or {}
        else:
            row["email_verified"] = values.get("email_verified", False)
        # A map may leave it out; one that names it says that it is never NULL.
        row["updated_at"] = row["updated_at"] or row["created_at"]
        return row

    def _faults(self, values: Row, row: Row) -> Iterator[Fault]:
        found: list[Fault] = []
        for mapped in self.config.columns:
            found += value_faults(mapped.ours, values[mapped.ours.name], self.exponents)
        found += self._id_faults(values)
        # What a row as a whole must be is asked only where each value is fine.
        yield from found or row_faults(self.domain, row)

    def _id_faults(self, row: Row) -> Iterator[Fault]:
        own, users = self.by_name["id"].how, self.config.user_ids
        for name, how in (("id", own), ("user_id", users)):
            if how == "uuid" and name in row and not re.fullmatch(UUID_TEXT, str(row[name])):
                yield name, "id_invalid"

    def _with_ids(self, row: Row) -> Row:
        """Return the row with our ids, and beside them those of the legacy side (D26)."""
        ids = {"legacy_id": row["id"], "id": self.our_id(row["id"])}
        if self.domain == "payments":
            ids["user_legacy_id"] = row["user_id"]
            ids["user_id"] = _our_id(self.config.user_ids, self.tenant_id, "users", row["user_id"])
        return {**row, **ids}

    def our_id(self, legacy_id: str) -> str:
        """Return the UUID of the row with this legacy id, as text."""
        return _our_id(self.by_name["id"].how, self.tenant_id, self.domain, legacy_id)

    # --- And back -------------------------------------------------------------------------------

    def write(self, row: Row) -> Raw:
        """Return the legacy values of our row, constants left out; ValueError: it cannot hold one.

        Every mapped column has to be there, and `legacy_id`; in payments `user_legacy_id` too.
        """
        exponent = self.exponents.get(row.get("currency", ""))
        given = {**row, "id": row["legacy_id"], "user_id": row.get("user_legacy_id")}
        return {
            mapped.source: write(mapped, given[name], exponent)
            for name, mapped in self.by_name.items()
            if mapped.source
        }

    # --- Compared -------------------------------------------------------------------------------

    def hash_of_raw(self, raw: Raw) -> bytes:
        """Return the row hash of a legacy row, also of one that breaks our rules (V1)."""
        exponent = self._exponent_of(raw)
        return canonical.row_hash(
            _encoded(mapped, raw.get(mapped.source), exponent) for mapped in self.compared
        )

    def hash_of_row(self, row: Row) -> bytes:
        """Return the row hash of our row, brought to what the legacy side can hold (V3)."""
        return canonical.row_hash(self._there_and_back(row))

    def _there_and_back(self, row: Row) -> Iterator[bytes]:
        exponent = self.exponents.get(row.get("currency", ""))
        given = {**row, "user_id": row.get("user_legacy_id")}
        for mapped in self.compared:
            try:
                raw = write(mapped, given[mapped.ours.name], exponent)
            except ValueError:  # The legacy side cannot hold it: it differs from all that it can.
                yield canonical.UNREADABLE
            else:
                yield _encoded(mapped, raw, exponent)

    def differing(self, one: Row, other: Row) -> list[str]:
        """Return the names of our columns in which two rows differ, as the legacy side sees it."""
        sides = zip(
            self.compared, self._there_and_back(one), self._there_and_back(other), strict=True
        )
        return [mapped.ours.name for mapped, mine, theirs in sides if mine != theirs]

    def totals_key(self, raw: Raw) -> tuple[str, str, int]:
        """Return status, currency and amount of a legacy row; unreadable: "?" and 0."""
        values, _ = self._values(raw)
        if self.domain == "users":
            return str(values.get("status") or "?") if "status" in self.by_name else "active", "", 0
        amount = values.get("amount_minor") or 0
        return str(values.get("status") or "?"), str(values.get("currency") or "?"), amount


def _our_id(how: str, tenant_id: str, domain: str, legacy_id: str) -> str:
    if how == "uuid":
        return legacy_id.lower()
    return str(canonical.uuid8(tenant_id, domain, legacy_id))


def _encoded(mapped: Mapped, raw: Any, exponent: int | None) -> bytes:
    try:
        return canonical.encode(read(mapped, raw, exponent))
    except Unreadable:
        return canonical.UNREADABLE


def _shown(legacy_id: Any) -> str:
    return legacy_id if isinstance(legacy_id, str) else ""


def _names(faults: list[Fault]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name, _ in faults))

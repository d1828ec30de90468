"""Rows of a legacy table become ours and go back; what breaks our rules is set aside (D42, D25)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from legacy.canonical import uuid8
from legacy.columns import ColumnMap
from legacy.store import RowRejected
from tests.legacy.maps import EXPONENTS, maps, shop

MAPS = maps(shop('adapter = "memory"'))
BCRYPT = "$2b$04$" + "." * 53
USER = {
    "id": 7,
    "mail": "Ada@Example.org",
    "pw": BCRYPT,
    "name": "Ada",
    "verified": 1,
    "created": "2024-07-01 12:00:00.123",
    "updated": "2024-07-02T00:00:00Z",
    "is_active": True,
}
PAYMENT = {
    "id": 3,
    "customer": 7,
    "order_no": 4711,
    "amount": "10.99",
    "currency": "EUR",
    "what": "Tea",
    "extra": '{"a": "b"}',
    "refunded": 0,
    "until": None,
    "created": "2024-07-01 12:00:00Z",
    "state": "paid",
}


def test_a_user_becomes_one_of_ours() -> None:
    """D42, D26: by map, zone and precision; what the map leaves out has its default."""
    assert MAPS["users"].read(USER) == {
        "id": str(uuid8("default", "users", "7")),
        "legacy_id": "7",
        "email": "Ada@Example.org",
        "legacy_password_hash": BCRYPT,
        "status": "active",
        "display_name": "Ada",
        "role": "user",
        "email_verified": True,
        "email_verified_at": None,
        "created_at": datetime(2024, 7, 1, 10, 0, 0, 123000, UTC),
        "updated_at": datetime(2024, 7, 2, tzinfo=UTC),
    }


def test_a_payment_becomes_one_of_ours() -> None:
    """D42: decimal to minor units, const, and the counters that its status means."""
    row = MAPS["payments"].read(PAYMENT)
    assert row["user_id"] == str(uuid8("default", "users", "7"))
    assert (row["user_legacy_id"], row["reference"], row["gateway"]) == ("7", "4711", "shop")
    assert (row["amount_minor"], row["status"], row["end_reason"]) == (1099, "captured", None)
    assert (row["authorized_minor"], row["captured_minor"], row["voided_minor"]) == (1099, 1099, 0)
    assert row["metadata"] == {"a": "b"}
    assert row["updated_at"] == row["created_at"]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("open", ("created", 0, 0, 0, None)),
        ("held", ("authorized", 1099, 0, 0, None)),
        ("paid", ("captured", 1099, 1099, 0, None)),
        ("void", ("voided", 1099, 0, 1099, "voided")),
        ("none", ("cancelled", 0, 0, 0, "cancelled")),
        ("bad", ("failed", 0, 0, 0, "failed")),
    ],
)
def test_amounts_follow_from_a_status(state: str, expected: tuple[Any, ...]) -> None:
    """V3: a store without counters tells of them by its status alone."""
    row = MAPS["payments"].read({**PAYMENT, "state": state})
    names = ("status", "authorized_minor", "captured_minor", "voided_minor", "end_reason")
    assert tuple(row[name] for name in names) == expected


@pytest.mark.parametrize(("state", "refunded"), [("part", 99), ("back", 1099)])
def test_a_counter_that_is_mapped_stands(state: str, refunded: int) -> None:
    """D42: here the amount that was refunded."""
    row = MAPS["payments"].read({**PAYMENT, "state": state, "refunded": refunded})
    assert (row["captured_minor"], row["refunded_minor"]) == (1099, refunded)


@pytest.mark.parametrize(("domain", "raw"), [("users", USER), ("payments", PAYMENT)])
def test_a_row_that_went_there_and_back_is_the_same(domain: str, raw: dict[str, Any]) -> None:
    """D42, V3: also by its hash."""
    mapping = MAPS[domain]
    row = mapping.read(raw)
    again = mapping.write(row)
    assert mapping.read(again) == row
    assert mapping.hash_of_raw(again) == mapping.hash_of_raw(raw) == mapping.hash_of_row(row)


def test_what_is_written_is_what_the_shop_reads() -> None:
    """D42: local time without zone, major units as text, true for active."""
    user = MAPS["users"].write(MAPS["users"].read(USER))
    assert (user["created"], user["is_active"]) == ("2024-07-01 12:00:00.123", True)
    assert user["updated"] == "2024-07-02 00:00:00.000000+00:00"
    payment = MAPS["payments"].write(MAPS["payments"].read(PAYMENT))
    assert (payment["amount"], payment["order_no"], payment["extra"]) == (
        "10.99",
        4711,
        '{"a":"b"}',
    )


@pytest.mark.parametrize(
    ("currency", "amount", "minor", "back"),
    [
        ("EUR", "0.05", 5, "0.05"),
        ("EUR", "7", 700, "7.00"),
        ("EUR", "10.990", 1099, "10.99"),
        ("JPY", "10", 10, "10"),
        ("JPY", "10.00", 10, "10"),
        ("KWD", "1.234", 1234, "1.234"),
        ("EUR", "9999999999999.99", 999999999999999, "9999999999999.99"),
    ],
)
def test_major_units_are_exact(currency: str, amount: str, minor: int, back: str) -> None:
    """D42: by the exponent of the currency, never rounded."""
    row = MAPS["payments"].read({**PAYMENT, "currency": currency, "amount": amount})
    assert row["amount_minor"] == minor
    assert MAPS["payments"].write(row)["amount"] == back


@pytest.mark.parametrize(
    ("raw", "value"),
    [(True, "active"), (1, "active"), ("t", "active"), ("true", "active"), ("0", "disabled")],
)
def test_a_boolean_is_read_as_every_driver_gives_it(raw: Any, value: str) -> None:
    """D42: SQLite has 1, PostgreSQL's text is true, CSV has what it has."""
    assert MAPS["users"].read({**USER, "is_active": raw})["status"] == value


def test_a_coarser_status_is_no_drift() -> None:
    """V3: a deleted user is a disabled one to a store that knows only two."""
    users = MAPS["users"]
    row = users.read(USER)
    disabled, deleted = ({**row, "status": status} for status in ("disabled", "deleted"))
    assert users.hash_of_row(disabled) == users.hash_of_row(deleted) != users.hash_of_row(row)
    assert users.differing(disabled, deleted) == []


def test_differing_columns_are_named() -> None:
    """V6: our names, no values; times are compared as finely as the store holds them."""
    users = MAPS["users"]
    row = users.read(USER)
    other = {
        **row,
        "display_name": None,
        "created_at": row["created_at"].replace(microsecond=123999),
    }
    assert users.differing(row, other) == ["display_name"]


REJECTED = [
    ("users", {"mail": "no address"}, "email_invalid", ("email",)),
    ("users", {"mail": ""}, "email_invalid", ("email",)),
    ("users", {"mail": None}, "value_missing", ("email",)),
    ("users", {"mail": b"Andr\xe9@x.de"}, "encoding_invalid", ("email",)),
    ("users", {"mail": "a\x00@x.de"}, "encoding_invalid", ("email",)),
    ("users", {"mail": "\udce9@x.de"}, "encoding_invalid", ("email",)),
    ("users", {"mail": 5.0}, "value_invalid", ("email",)),
    ("users", {"pw": "md5:0123"}, "password_invalid", ("legacy_password_hash",)),
    ("users", {"name": "x" * 201}, "text_too_long", ("display_name",)),
    ("users", {"name": ""}, "text_invalid", ("display_name",)),
    ("users", {"verified": "maybe"}, "value_invalid", ("email_verified",)),
    ("users", {"verified": None}, "value_missing", ("email_verified",)),
    ("users", {"is_active": 2}, "value_unmapped", ("status",)),
    ("users", {"is_active": None}, "value_missing", ("status",)),
    ("users", {"created": "yesterday"}, "timestamp_invalid", ("created_at",)),
    ("users", {"created": "2024-02-30 00:00:00"}, "timestamp_invalid", ("created_at",)),
    ("users", {"updated": "2024-01-01 00:00:00"}, "timestamp_without_zone", ("updated_at",)),
    ("users", {"updated": None}, "value_missing", ("updated_at",)),
    ("users", {"id": None}, "value_missing", ("id",)),
    ("users", {"id": "x" * 201}, "id_invalid", ("id",)),
    ("users", {"id": "a\nb"}, "id_invalid", ("id",)),
    ("payments", {"amount": "10.999"}, "amount_fractional", ("amount_minor",)),
    ("payments", {"amount": 10.99}, "amount_float", ("amount_minor",)),
    ("payments", {"amount": "1e3"}, "amount_invalid", ("amount_minor",)),
    ("payments", {"amount": "10,99"}, "amount_invalid", ("amount_minor",)),
    ("payments", {"amount": "0.00"}, "amount_out_of_range", ("amount_minor",)),
    ("payments", {"amount": "-1"}, "amount_out_of_range", ("amount_minor",)),
    ("payments", {"amount": "99999999999999.99"}, "amount_out_of_range", ("amount_minor",)),
    ("payments", {"amount": None}, "value_missing", ("amount_minor",)),
    ("payments", {"refunded": "0.5"}, "amount_fractional", ("refunded_minor",)),
    ("payments", {"refunded": 1}, "status_inconsistent", ("status",)),
    ("payments", {"state": "part"}, "status_inconsistent", ("status",)),
    ("payments", {"state": "lost"}, "value_unmapped", ("status",)),
    ("payments", {"currency": "ZZZ"}, "currency_unknown", ("currency",)),
    ("payments", {"currency": "eur"}, "currency_unknown", ("currency",)),
    ("payments", {"currency": "XAU"}, "currency_unknown", ("currency",)),
    ("payments", {"extra": '{"a": 1}'}, "metadata_invalid", ("metadata",)),
    ("payments", {"extra": '{"a": "' + "x" * 8192 + '"}'}, "metadata_too_large", ("metadata",)),
    ("payments", {"order_no": "A7"}, "value_invalid", ("reference",)),
    ("payments", {"customer": None}, "value_missing", ("user_id",)),
]  # fmt: skip


@pytest.mark.parametrize(("domain", "change", "code", "columns"), REJECTED)
def test_a_row_that_breaks_our_rules_is_rejected(
    domain: str, change: dict[str, Any], code: str, columns: tuple[str, ...]
) -> None:
    """D25, D42: by id, code and columns; the text repeats no value."""
    raw = {**(USER if domain == "users" else PAYMENT), **change}
    with pytest.raises(RowRejected) as caught:
        MAPS[domain].read(raw)
    legacy_id = raw["id"] if "id" not in change or change["id"] else ""
    assert (caught.value.id, caught.value.code, caught.value.columns) == (
        str(legacy_id),
        code,
        columns,
    )
    assert str(caught.value) == f"{code}: {', '.join(columns)}"


def test_all_columns_at_fault_are_named() -> None:
    """D25: one row is one reject."""
    raw = {**USER, "mail": "none", "name": "", "pw": "x"}
    with pytest.raises(RowRejected) as caught:
        MAPS["users"].read(raw)
    assert caught.value.columns == ("email", "legacy_password_hash", "display_name")
    assert caught.value.code == "email_invalid"


def test_a_rejected_row_has_a_hash_of_its_own() -> None:
    """V1: it is compared as different, and stops no digest."""
    users = MAPS["users"]
    hashes = {
        users.hash_of_raw({**USER, "verified": value}) for value in (1, 0, None, "maybe", "perhaps")
    }
    assert len(hashes) == 4


def test_ids_that_are_uuids_stay() -> None:
    """D26: with as = "uuid"; anything else is rejected there."""
    text = shop('adapter = "memory"').replace(
        'from = "id", as = "uuid8"', 'from = "id", as = "uuid"'
    )
    found = maps(text)
    legacy_id = "0198C5A0-7D1F-7C3A-9D2E-5B6F7A8C9D0E"
    row = found["users"].read({**USER, "id": legacy_id})
    assert (row["id"], row["legacy_id"]) == (legacy_id.lower(), legacy_id)
    payment = found["payments"].read({**PAYMENT, "id": legacy_id, "customer": legacy_id})
    assert (payment["user_id"], payment["user_legacy_id"]) == (legacy_id.lower(), legacy_id)
    with pytest.raises(RowRejected, match="id_invalid: id"):
        found["users"].read(USER)
    with pytest.raises(RowRejected, match="id_invalid: user_id"):
        found["payments"].read({**PAYMENT, "id": legacy_id})


def test_tenants_have_ids_of_their_own() -> None:
    """D26."""
    config = MAPS["users"].config
    ids = {ColumnMap(config, tenant, EXPONENTS).read(USER)["id"] for tenant in ("default", "acme")}
    assert len(ids) == 2


@pytest.mark.parametrize("naive", ["2024-10-27 02:30:00", "2024-03-31 02:30:00"])
def test_an_hour_that_is_there_twice_or_not_at_all_is_no_drift(naive: str) -> None:
    """V3: there and back it stays one moment."""
    users = MAPS["users"]
    row = users.read({**USER, "created": naive})
    assert users.hash_of_row(row) == users.hash_of_raw({**USER, "created": naive})

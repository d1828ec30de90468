"""Column maps for tests: a shop of users and payments that uses every transform."""

from __future__ import annotations

from typing import TYPE_CHECKING

from legacy.columns import ColumnMap
from legacy.config_file import load

if TYPE_CHECKING:
    from collections.abc import Mapping

EXPONENTS: dict[str, int | None] = {"EUR": 2, "USD": 2, "JPY": 0, "KWD": 3, "XAU": None}

# `{head}` is where adapter, table and the rest of a section go.
USERS = """
[users]
{head}
[users.columns]
id = {{ from = "id", as = "uuid8" }}
email = {{ from = "mail", as = "text" }}
legacy_password_hash = {{ from = "pw", as = "password" }}
display_name = {{ from = "name", as = "text" }}
email_verified = {{ from = "verified", as = "bool" }}
created_at = {{ from = "created", as = "timestamp", zone = "Europe/Berlin", precision = "ms" }}
updated_at = {{ from = "updated", as = "timestamp" }}
[users.columns.status]
from = "is_active"
as = "map"
map = {{ true = "active", false = "disabled" }}
back = {{ active = true, disabled = false, deleted = false }}
"""
PAYMENTS = """
[payments]
{head}
[payments.columns]
id = {{ from = "id", as = "uuid8" }}
user_id = {{ from = "customer", as = "user_id" }}
reference = {{ from = "order_no", as = "int" }}
amount_minor = {{ from = "amount", as = "decimal" }}
currency = {{ from = "currency", as = "text" }}
gateway = {{ as = "const", value = "shop" }}
description = {{ from = "what", as = "text" }}
metadata = {{ from = "extra", as = "metadata" }}
refunded_minor = {{ from = "refunded", as = "minor" }}
capture_before = {{ from = "until", as = "timestamp", precision = "s" }}
created_at = {{ from = "created", as = "timestamp" }}
[payments.columns.status]
from = "state"
as = "map"
[payments.columns.status.map]
open = "created"
held = "authorized"
paid = "captured"
part = "partially_refunded"
back = "refunded"
void = "voided"
none = "cancelled"
bad = "failed"
[payments.columns.status.back]
created = "open"
authorized = "held"
partially_captured = "paid"
captured = "paid"
voided = "void"
expired = "void"
cancelled = "none"
failed = "bad"
partially_refunded = "part"
refunded = "back"
disputed = "paid"
partially_charged_back = "part"
charged_back = "back"
"""


def shop(head: str, tables: tuple[str, str] = ("customers", "orders")) -> str:
    """Return a configuration of both domains; `head` holds the lines before the columns."""
    heads = [f'{head}\ntable = "{table}"' for table in tables]
    return USERS.format(head=heads[0]) + PAYMENTS.format(head=heads[1])


def maps(
    text: str, environ: Mapping[str, str] | None = None, tenant_id: str = "default"
) -> dict[str, ColumnMap]:
    """Return the maps of a configuration that has no fault, by domain."""
    found = load(text, environ or {})
    return {name: ColumnMap(config, tenant_id, EXPONENTS) for name, config in found.items()}

"""LEGACY_CONFIG: every fault by its place, all of them in one list, no secret among them (D42)."""

from __future__ import annotations

import pytest

from legacy.config_file import ConfigFaults, load
from tests.legacy.maps import maps, shop

MEMORY = 'adapter = "memory"'
GOOD = shop(MEMORY)
ENVIRON = {"SHOP_DSN": "postgresql://shop:secret@localhost/shop"}


def faults(text: str) -> list[str]:
    """Return what `load` finds."""
    with pytest.raises(ConfigFaults) as caught:
        load(text, ENVIRON)
    assert "secret" not in str(caught.value)
    return caught.value.faults


def test_a_good_file_has_both_domains() -> None:
    """D42: with what is left out filled in."""
    found = load(GOOD, ENVIRON)
    users = found["users"]
    assert list(found) == ["users", "payments"]
    assert (users.adapter, users.table, users.writers) == ("memory", "customers", "api")
    assert (users.capture, users.user_ids, users.dsn) == (None, "uuid8", "")


def test_columns_stand_in_the_order_of_the_canonical_row() -> None:
    """V1: however the file orders them."""
    lines = GOOD.splitlines()
    first, last = lines.index("[users.columns]") + 1, lines.index("[users.columns.status]")
    turned = "\n".join([*lines[:first], *reversed(lines[first:last]), *lines[last:]])
    names = [mapped.ours.name for mapped in load(turned, ENVIRON)["users"].columns]
    assert names == [mapped.ours.name for mapped in load(GOOD, ENVIRON)["users"].columns]
    assert maps(turned)["users"].sources[:2] == ["id", "mail"]


def test_a_secret_comes_from_the_environment() -> None:
    """D42: and is not shown by accident."""
    config = load(shop('adapter = "postgres"\ndsn_env = "SHOP_DSN"'), ENVIRON)["users"]
    assert config.dsn == ENVIRON["SHOP_DSN"]
    assert "secret" not in repr(config)


CASES = [
    ('adapter = "memory"', 'adapter = "oracle"', "users.adapter: one of memory, postgres, sqlite"),
    ('adapter = "memory"', 'colour = "red"', "users.colour: unknown; known: adapter"),
    ('adapter = "memory"', "", "users.adapter: one of"),
    (MEMORY, 'adapter = "sqlite"', "users.sqlite: either dsn_env or path"),
    (MEMORY, 'adapter = "sqlite"\npath = 7', "users.path: a text"),
    (MEMORY, f'{MEMORY}\npath = "x"', "users.path: not for memory"),
    (MEMORY, 'adapter = "postgres"\ndsn_env = "NO_DSN"', "users.dsn_env: NO_DSN is not set"),
    (MEMORY, 'adapter = "postgres"', "users.table: in our own database it needs its schema"),
    (MEMORY, f'{MEMORY}\nwriters = "all"', "users.writers: api or legacy"),
    (MEMORY, f'{MEMORY}\ncapture = "trigger"', "users.capture: not for this adapter"),
    (
        MEMORY,
        'adapter = "sqlite"\npath = "x"\nwriters = "legacy"',
        'users.capture: needed where writers = "legacy"',
    ),
    (MEMORY, 'adapter = "csv"\ncapture = "poll"', "users.capture: not for this adapter"),
    ('"customers"', '"my customers"', "users.table: no plain identifier"),
    ('"customers"', '"a.b"', "users.table: no plain identifier"),
    ("\nemail =", "\nmail =", "users.columns.mail: users has no such column"),
    ("\nemail =", "\nmail =", "users.columns.email: missing"),
    ('from = "mail"', 'from = "mail; DROP"', "users.columns.email.from: no plain identifier"),
    ('from = "mail", ', "", "users.columns.email.from: missing"),
    ('from = "mail", as = "text"', 'from = "mail"', "users.columns.email.as: one of text, int"),
    ('"mail", as = "text"', '"mail", as = "json"', "users.columns.email.as: one of text, int"),
    (
        '"mail", as = "text"',
        '"mail", as = "bool"',
        "users.columns.email.as: bool does not make a email; text would",
    ),
    ('"mail", as = "text"', '"mail", as = "text", x = 1', "users.columns.email.x: unknown here"),
    ('{ from = "mail", as = "text" }', '"mail"', "users.columns.email: a table such as"),
    ('"Europe/Berlin"', '"Europe/Atlantis"', "users.columns.created_at.zone: no time zone"),
    ('"Europe/Berlin"', '"../etc/passwd"', "users.columns.created_at.zone: no time zone"),
    ('precision = "ms"', 'precision = "h"', "users.columns.created_at.precision: one of s, ms, us"),
    ('from = "name"', 'from = "mail"', "users.columns.display_name: mail is what email is from"),
    ('false = "disabled"', 'false = "gone"', "users.columns.status.map: 'gone' is nothing"),
    (", deleted = false", "", "users.columns.status.back: lacks deleted"),
    ("deleted = false", "deleted = false, asleep = false", "status.back: asleep is nothing"),
    ("deleted = false", 'deleted = "x"', "users.columns.status.back: what deleted becomes is not"),
    ("deleted = false", "deleted = 0.5", "users.columns.status.back: what deleted becomes is not"),
    ('value = "shop"', 'value = ""', "payments.columns.gateway.value: nothing that gateway may"),
    ('value = "shop"', "value = 7", "payments.columns.gateway.value: nothing that gateway may"),
    (', value = "shop"', "", "payments.columns.gateway.value: missing"),
    ("[payments]", "[invoices]", "invoices: unknown; known: users, payments"),
]


@pytest.mark.parametrize(("old", "new", "fault"), CASES)
def test_a_bad_line_is_named(old: str, new: str, fault: str) -> None:
    """D42: by section, column and key; the commands end with 2."""
    assert old in GOOD
    flat = "\n".join(faults(GOOD.replace(old, new, 1)))
    assert _dotted(fault) in _dotted(flat)


def _dotted(text: str) -> str:
    return text.replace(": ", ".").replace(":", ".")


def test_all_faults_are_found_at_once() -> None:
    """D42: in both domains."""
    bad = GOOD.replace('"customers"', '"my customers"').replace('"Europe/Berlin"', '"X/Y"')
    bad = bad.replace('as = "decimal"', 'as = "float"').replace('value = "shop"', "value = 7")
    found = faults(bad)
    assert len(found) == 4
    assert [each.partition(".")[0] for each in found] == ["users", "users", "payments", "payments"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "neither [users] nor [payments]"),
        ("users = 7", "users.adapter: one of"),
        ("[users", "not TOML:"),
        (GOOD.partition("[payments]")[2].join(["[payments]", ""]), "payments: needs [users]"),
        ('[users]\nadapter = "memory"\n[users.columns]\n', "users.columns: a table with a line"),
    ],
)
def test_a_file_without_sense_is_refused(text: str, fault: str) -> None:
    """D42."""
    assert any(each.startswith(fault) for each in faults(text))


def test_a_map_may_know_more_words_than_we_write() -> None:
    """D42: `back` decides which of two is written."""
    text = GOOD.replace('true = "active", false', 'true = "active", maybe = "disabled", false')
    mapping = maps(text)["users"]
    assert mapping.by_name["status"].words == {
        "true": "active",
        "maybe": "disabled",
        "false": "disabled",
    }

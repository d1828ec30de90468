"""Arguments of commands: what is refused before anything is opened, and never repeated."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_network

import click
import pytest

from commands.arguments import KEY_ID, LABEL, MOMENT, NETWORK, TENANT, Parsed


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (LABEL, "x" * 200, "x" * 200),
        (TENANT, "a-1", "a-1"),
        (KEY_ID, "0aZ0aZ0aZ0aZ", "0aZ0aZ0aZ0aZ"),
        (MOMENT, "2030-01-31T12:00:00Z", datetime(2030, 1, 31, 12, tzinfo=UTC)),
        (MOMENT, "2030-01-31T14:00+02:00", datetime(2030, 1, 31, 12, tzinfo=UTC)),
        (NETWORK, "192.0.2.0/24", ip_network("192.0.2.0/24")),
        (NETWORK, "2001:db8::1", ip_network("2001:db8::1/128")),
    ],
)
def test_what_fits_is_taken(kind: Parsed, text: str, value: object) -> None:
    assert kind.convert(text, None, None) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (LABEL, "a\nb"),
        (LABEL, "x" * 201),
        (LABEL, "\udcff"),
        (TENANT, "Acme"),
        (TENANT, "acme\n"),
        (TENANT, "a_b"),
        (TENANT, "a" * 33),
        (KEY_ID, "srk_default_000000000000"),
        (MOMENT, "2031-01-31T12:00:00"),
        (MOMENT, "tomorrow"),
        (NETWORK, "192.0.2.1/24"),
    ],
)
def test_what_does_not_fit_is_usage_and_not_repeated(kind: Parsed, text: str) -> None:
    """Exit 2 (section 4 of the architecture page), and AE5."""
    with pytest.raises(click.BadParameter) as caught:
        kind.convert(text, None, None)
    assert caught.value.exit_code == 2
    assert text not in caught.value.format_message()


def test_an_empty_label_is_refused() -> None:
    with pytest.raises(click.BadParameter):
        LABEL.convert("", None, None)

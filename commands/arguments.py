"""Arguments of commands: what several take, parsed before anything is opened (exit 2)."""

from __future__ import annotations

import re
from datetime import datetime
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

LABEL_MAX = 200


class Parsed(click.ParamType[Any]):
    """An argument that `parse` turns into a value; its ValueError is a usage error (exit 2)."""

    def __init__(self, name: str, parse: Callable[[str], object]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value; the message names what is wanted, not what was given."""
        try:
            return self._parse(value)
        except ValueError:
            self.fail(f"not {self.name}", param, ctx)


def _matching(pattern: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise ValueError
        return text

    return parse


def _label(text: str) -> str:
    if not (0 < len(text) <= LABEL_MAX and text.isprintable()):
        raise ValueError
    return text


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError
    return moment


def _pair(text: str) -> tuple[str, str]:
    match = re.fullmatch(r"([A-Za-z0-9_.-]{1,40})=(.{0,500})", text)
    if match is None:
        raise ValueError
    return match[1], match[2]


CURRENCY = Parsed("three capital letters", _matching("[A-Z]{3}"))
PAIR = Parsed("a pair, like name=value", _pair)
LABEL = Parsed(f"a printable text of at most {LABEL_MAX} characters", _label)
TENANT = Parsed(
    "a tenant id (a letter, then letters, digits, hyphens, 32 at most, all lower-case)",
    _matching("[a-z][a-z0-9-]{0,31}"),
)
KEY_ID = Parsed("the 12 characters after the tenant in the key", _matching("[0-9A-Za-z]{12}"))
KID = Parsed("the 43 characters of a key's thumbprint", _matching("[0-9A-Za-z_-]{43}"))
EVENT = Parsed("an event, like api_key_created", _matching("[a-z_]{1,64}"))
MOMENT = Parsed("a time with its zone, like 2030-01-31T12:00:00Z", _moment)
NETWORK = Parsed("a network, like 192.0.2.0/24", ip_network)

tenant_option = click.option(
    "--tenant", "tenant_id", type=TENANT, help="Tenant; without it DEFAULT_TENANT."
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")

"""Where webhooks may go: the form of a URL, and addresses that are not ours (W4).

A URL is somebody else's wish, and the service calls it from inside. So each call asks what the name
stands for now, and every address of it has to be one of the open Internet.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

URL_MAX_CHARS = 2_048
HTTPS = 443
PORTS = frozenset({HTTPS, 8443})
# No space, quote, backslash, control or other sign that two readers might read differently.
_URL = re.compile(r"https://[!$%&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~]+")
_NAME = re.compile(r"(?=.{1,253}\.?$)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")

# IANA's registries of special addresses, and what is multicast or reserved.
_NOT_PUBLIC_4 = tuple(
    IPv4Network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
        *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24"),
        *("192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15"),
        *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    )
)
_GLOBAL_6 = IPv6Network("2000::/3")
_NOT_PUBLIC_6 = tuple(
    IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20")
)
_NAT64 = IPv6Network("64:ff9b::/96")


class UrlRefused(ValueError):
    """The URL may not be called; the text says which rule it breaks."""


@dataclass(frozen=True, slots=True)
class Target:
    """What to connect to, and what to ask for there: `path` has the query, `host` no brackets."""

    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The value of the header Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == HTTPS else f"{host}:{self.port}"


def read_url(text: str, *, any_port: bool = False) -> Target:
    """Return what a URL asks for. Raises UrlRefused; nothing is resolved here."""
    if len(text) > URL_MAX_CHARS:
        raise UrlRefused(f"At most {URL_MAX_CHARS} characters.")
    if _URL.fullmatch(text) is None:
        raise UrlRefused("An https URL in visible ASCII.")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", HTTPS if parts.port is None else parts.port
    except ValueError as error:
        raise UrlRefused("No such host name or port.") from error
    if "@" in parts.netloc:
        raise UrlRefused("No user information.")
    if not (any_port or port in PORTS):
        raise UrlRefused("Port 443 or 8443.")
    if not (_is_literal_6(parts.netloc) if "[" in parts.netloc else _NAME.fullmatch(host)):
        raise UrlRefused("No such host name or port.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(host, port, path)


def _is_literal_6(netloc: str) -> bool:
    text = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](:[0-9]*)?", netloc)
    try:
        return text is not None and isinstance(ip_address(text[1]), IPv6Address)
    except ValueError:
        return False


def is_public(text: str) -> bool:
    """Tell whether an address is a global unicast one, whatever form it hides in."""
    try:
        return _is_public(ip_address(text))
    except ValueError:
        return False


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    inner = _inner(address)
    if inner is not None:
        return _is_public(inner)
    return address in _GLOBAL_6 and not any(address in network for network in _NOT_PUBLIC_6)


def _inner(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 address stands for: mapped, NAT64, 6to4."""
    if address in _NAT64:
        return IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour

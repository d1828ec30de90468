"""Addresses and URLs at large: what we call public is so for everybody (W4)."""

from __future__ import annotations

import contextlib
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import urlsplit

from hypothesis import example, given
from hypothesis import strategies as st

from services.webhook_urls import PORTS, UrlRefused, is_public, read_url


@given(st.ip_addresses(v=4))
@example(IPv4Address("192.0.0.8"))
def test_a_public_address_is_global_for_python_too(address: IPv4Address) -> None:
    """W4: of version 4, by another list of special networks."""
    if is_public(str(address)):
        assert address.is_global
        assert not address.is_multicast


@given(st.ip_addresses(v=6))
def test_a_public_address_of_version_6_is_global_for_python_too(address: IPv6Address) -> None:
    """W4: unless it stands for one of version 4, whose rule it has."""
    if is_public(str(address)) and not str(address).startswith(("64:ff9b:", "2002:", "::ffff:")):
        assert address.is_global
        assert not address.is_multicast


@given(st.ip_addresses(v=4))
def test_an_address_is_what_it_stands_for(address: IPv4Address) -> None:
    """W4: mapped, NAT64 and 6to4 are unwrapped."""
    number = int(address)
    wrapped = (
        IPv6Address(0xFFFF << 32 | number),
        IPv6Address(0x64FF9B << 96 | number),
        IPv6Address(0x2002 << 112 | number << 80 | 1),
    )
    assert {is_public(str(each)) for each in wrapped} == {is_public(str(address))}


@given(st.text(alphabet="https:/[]@%.\\#?&;= \t\n\x00aA0-_é127", max_size=60))
def test_a_url_that_is_read_has_one_reading(tail: str) -> None:
    """W4: whatever is not refused, the standard parser reads alike, without user and fragment."""
    with contextlib.suppress(UrlRefused):
        text = f"https://{tail}"
        target, parts = read_url(text), urlsplit(text)
        assert (target.host, parts.username, parts.fragment) == (parts.hostname, None, "")
        assert target.port in PORTS
        assert target.path.startswith("/")
        assert text.isascii()
        assert text.isprintable()
        assert " " not in text

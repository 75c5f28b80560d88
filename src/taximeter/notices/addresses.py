"""
Which internet addresses a webhook may be sent to: only public ones.

Whoever may add a webhook must not be able to make this machine talk to its own network. An IPv6
address that carries an IPv4 one is judged by what it carries as well.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, TypeAlias
from urllib.parse import SplitResult, urlsplit

from taximeter.errors import Rejected

Address: TypeAlias = IPv4Address | IPv6Address

MAX_URL_LENGTH: Final = 2048

# IANA's registries of special addresses, and multicast. The standard library's `is_global` lets
# some of these through.
_REFUSED_4: Final = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
        "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24",
        "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15",
        "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip
# Everything outside of 2000::/3 is special; these are the special ones inside.
_GLOBAL_6: Final = IPv6Network("2000::/3")
_REFUSED_6: Final = tuple(
    IPv6Network(network)
    for network in ("2001::/23", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20")
)
_NAT64: Final = IPv6Network("64:ff9b::/96")

# Services that a text sent over HTTP could harm.
_REFUSED_PORTS: Final = frozenset(
    {1433, 1521, 2049, 2375, 2376, 2379, 3306, 4369, 5432, 5672, 6379, 9042, 9092, 9200, 9300}
    | {11211, 27017}
)
_WEB_PORTS: Final = frozenset({80, 443})


def is_public(address: Address) -> bool:
    """Whether the address, and any it carries, is one of the open internet."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_4)
    if not all(is_public(inner) for inner in _carried(address)):
        return False
    if address.ipv4_mapped is not None or address in _NAT64:
        return True  # only another way to write what it carries
    return address in _GLOBAL_6 and not any(address in network for network in _REFUSED_6)


def _carried(address: IPv6Address) -> Iterator[IPv4Address]:
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address in _NAT64:
        yield IPv4Address(int(address) & 0xFFFFFFFF)


def parse_address(text: str) -> Address | None:
    """An address as a resolver gives it, without its zone; None for a name."""
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def check_url(url: str, *, allow_private: bool) -> SplitResult:
    """
    What can be said of a webhook's URL without asking a name server. The address that a name
    leads to is looked at again each time a connection is made.

    Args:
        allow_private: Let through plain http and any address and port.

    Raises:
        Rejected: `webhook_url_refused`.
    """
    parts = _split(url)
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme not in ("https", "http") or not host:
        raise _refused("A webhook's URL begins with https:// and names a host.")
    if parts.username is not None or parts.password is not None:
        raise _refused("A webhook's URL holds no user name or password.")
    if parts.fragment:
        raise _refused("A webhook's URL has no #fragment.")
    if not allow_private:
        _check_public(parts, host)
    return parts


def _split(url: str) -> SplitResult:
    # urlsplit drops tabs and line breaks silently, so that what it returns looks sound.
    if len(url) > MAX_URL_LENGTH or not url.isascii() or not url.isprintable() or " " in url:
        raise _refused(
            f"A webhook's URL is at most {MAX_URL_LENGTH} printable ASCII characters; "
            "write other names in their xn-- form."
        )
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise _refused(f"The URL cannot be read: {error}.") from None
    return parts


def _check_public(parts: SplitResult, host: str) -> None:
    lift = "A server started with --webhook-allow-private would take it."
    if parts.scheme != "https":
        raise _refused(f"Notices are sent over https only. {lift}")
    port = parts.port or 443
    if (port < 1024 and port not in _WEB_PORTS) or port in _REFUSED_PORTS or parts.port == 0:
        raise _refused(f"Port {port} is not one of the web.")
    address = parse_address(host)
    if address is not None and not is_public(address):
        raise _refused(f"{host} is not a public address. {lift}")
    # 127.1, 0x7f.1 and 2130706433 are addresses to a resolver, though not to us.
    if address is None and (host.rpartition(".")[2][:1].isdigit() or "." not in host):
        raise _refused(f"{host} is not a public host name. {lift}")
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        raise _refused(f"{host} is not a public host name. {lift}")


def _refused(message: str) -> Rejected:
    return Rejected("webhook_url_refused", message)

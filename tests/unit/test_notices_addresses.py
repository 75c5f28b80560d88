"""Where a webhook may lead: only to the open internet."""

from __future__ import annotations

import ipaddress

import pytest

from taximeter.errors import Rejected
from taximeter.notices.addresses import check_url, is_public, parse_address

PRIVATE = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255",
    "127.0.0.1", "127.255.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8",
    "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.7",
    "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1", "2001::1",
    "2001:10::1", "2001:db8::1", "2002:7f00:1::", "2002:a00:1::1", "3fff::1", "fc00::1",
    "fd12:3456::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "5f00::1",
]  # fmt: skip
PUBLIC = [
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
    "126.255.255.255", "128.0.0.0", "169.253.255.255", "172.15.255.255", "172.32.0.0",
    "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
    "2606:4700:4700::1111", "2a00:1450:4001:800::200e", "::ffff:8.8.8.8", "64:ff9b::808:808",
    "2002:808:808::1",
]  # fmt: skip


@pytest.mark.parametrize("text", PRIVATE)
def test_no_address_of_a_special_network_is_public(text: str) -> None:
    address = parse_address(text)
    assert address is not None
    assert not is_public(address)


@pytest.mark.parametrize("text", PUBLIC)
def test_addresses_next_to_special_networks_are_public(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


def test_every_address_the_standard_library_calls_private_is_refused_here_too() -> None:
    for high in range(256):
        for low in (0, 18, 31, 51, 64, 88, 100, 113, 168, 254, 255):
            address = ipaddress.ip_address(f"{high}.{low}.2.1")
            if address.is_private or address.is_multicast or address.is_reserved:
                assert not is_public(address), address


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://example.com/hooks?a=b",
        "https://example.com:8443/x",
        "https://example.com.:443/x",
        "https://8.8.8.8/x",
        "https://[2606:4700:4700::1111]/x",
        "https://xn--bcher-kva.example/",
    ],
)
def test_an_https_url_of_a_public_host_is_taken(url: str) -> None:
    assert check_url(url, allow_private=False).hostname


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com/hooks",
        "https://",
        "https:///hooks",
        "http://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "https://user:pw@example.com/",
        "https://user@example.com/",
        "https://example.com/#part",
        "https://example.com:22/",
        "https://example.com:25/",
        "https://example.com:6379/",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://example.com/a b",
        "https://example.com/\r\nHost: x",
        "https://exam\tple.com/",
        "https://example.com/ä",
        "https://１２７.0.0.1/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://0x7f000001/",
        "https://0177.0.0.1/",
        "https://0/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[fe80::1%25eth0]/",
        "https://[::1/",
        "https://localhost/",
        "https://localhost./",
        "https://x.localhost/",
        "https://printer.local/",
        "https://metadata.google.internal/",
        "https://intranet/",
        "https://169.254.169.254/latest/meta-data",
        "https://example.com/" + "a" * 2048,
    ],
)
def test_anything_else_is_refused_when_it_is_configured(url: str) -> None:
    with pytest.raises(Rejected) as caught:
        check_url(url, allow_private=False)
    assert caught.value.code == "webhook_url_refused"


def test_a_refusal_says_what_would_lift_it() -> None:
    with pytest.raises(Rejected, match="--webhook-allow-private"):
        check_url("http://127.0.0.1:9000/hooks", allow_private=False)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9000/hooks", "http://localhost:22", "https://a"])
def test_in_house_everything_with_a_host_is_taken(url: str) -> None:
    assert check_url(url, allow_private=True)


@pytest.mark.parametrize("url", ["file:///x", "http://user:pw@localhost/", "http://a\n", "http://"])
def test_even_in_house_a_url_is_one_of_the_web(url: str) -> None:
    with pytest.raises(Rejected):
        check_url(url, allow_private=True)

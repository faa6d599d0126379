"""Which addresses are the internet's."""

from ipaddress import ip_address, ip_network

import pytest

from app.outbound.addresses import is_open, permitted
from app.outbound.errors import AddressRefused, InvalidUrl
from app.outbound.http import parse_url


@pytest.mark.parametrize(
    "text", ["1.1.1.1", "93.184.216.34", "192.0.1.1", "2606:4700::1111", "2a00:1450:4001:81b::200e"]
)
def test_open(text: str) -> None:
    assert is_open(ip_address(text))


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.0.1",  # noqa: S104
        "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1",
        "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1",
        "239.255.255.250", "240.0.0.1", "255.255.255.255",
        "::", "::1", "::ffff:127.0.0.1", "::ffff:1.1.1.1", "::127.0.0.1", "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1", "2001::1", "2001:20::1", "2001:db8::1",
        "2002:7f00:1::", "2002:a9fe:a9fe::", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254",
        "fe80::1", "fec0::1", "ff02::1", "4000::1",
    ],
)  # fmt: skip
def test_not_open(text: str) -> None:
    assert not is_open(ip_address(text))
    with pytest.raises(AddressRefused):
        permitted([ip_address(text)], [])


def test_allowed_networks_are_added_and_nothing_beside_them() -> None:
    allowed = [ip_network("127.0.0.0/8"), ip_network("fd00::/8")]
    mixed = [ip_address(each) for each in ("10.0.0.1", "127.0.0.1", "1.1.1.1", "fd00::1", "::1")]
    assert [str(each) for each in permitted(mixed, allowed)] == ["127.0.0.1", "1.1.1.1", "fd00::1"]
    with pytest.raises(AddressRefused):
        permitted([ip_address("::ffff:127.0.0.1")], allowed)


@pytest.mark.parametrize(
    "url",
    [
        "", "hook", "/hook", "//example.com/", "ftp://example.com/", "file:///etc/passwd",
        "https://", "https:///path", "https://user:secret@example.com/", "https://user@example.com/",
        "https://example.com:99999/", "https://exa mple.com/", "https://example.com/" + "a" * 2000,
        "gopher://example.com", "https://exam\x00ple.com/", "https://example.com:0/",
    ],
)  # fmt: skip
def test_what_is_no_url_for_us(url: str) -> None:
    with pytest.raises(InvalidUrl):
        parse_url(url)

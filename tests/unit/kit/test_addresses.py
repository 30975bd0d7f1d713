"""Which addresses may be reached."""

import ipaddress

import pytest

from cadre_kit.addresses import AddressRefused, AddressRules, HostUnknown, resolve
from cadre_kit.errors import InvalidInput

INWARD = """
0.0.0.0 10.0.0.1 100.64.0.1 100.100.100.200 127.0.0.1 127.8.8.8 168.63.129.16 169.254.169.254 172.16.0.1
192.0.0.192 192.168.1.1 198.18.0.1 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255
:: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe
2002:7f00:1:: 2002:a00:1:: 2001:0:4136:e378:8000:63bf:80ff:fffe fc00::1 fd00:ec2::254 fe80::1 fe80::1%eth0
fec0::1 ff02::1 2001:db8::1 100::1
""".split()
OUTWARD = (
    "1.1.1.1 93.184.215.14 2606:4700::1111 ::ffff:1.1.1.1 64:ff9b::101:101 2002:101:101::".split()
)
ODD = "2130706433 0x7f000001 0x7f.1 0177.0.0.1 127.1 0 localhost".split()


@pytest.mark.parametrize("address", INWARD)
def test_an_address_of_this_machine_or_its_network_is_refused(address: str) -> None:
    with pytest.raises(AddressRefused):
        AddressRules().judge("evil.example", 80, [ipaddress.ip_address(address)])


@pytest.mark.parametrize("address", OUTWARD)
def test_a_public_address_may_be_reached(address: str) -> None:
    found = [ipaddress.ip_address(address)]

    assert AddressRules().judge("example.org", 80, found) == found


@pytest.mark.parametrize("host", ODD)
async def test_an_odd_way_to_write_a_loopback_address_is_refused(host: str) -> None:
    with pytest.raises(AddressRefused):
        AddressRules().judge(host, 80, await resolve(host, 80))


def test_of_a_mixture_only_public_addresses_are_left() -> None:
    found = [ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("1.1.1.1")]

    assert AddressRules().judge("mixed.example", 80, found) == found[1:]


@pytest.mark.parametrize(
    "rules", ["wiki", "WIKI:80", "10.0.0.0/8", "10.1.2.3", "fd00::/8, 10.1.2.3"]
)
def test_the_operator_can_allow_a_host_an_address_or_a_network(rules: str) -> None:
    found = [ipaddress.ip_address("10.1.2.3")]

    assert AddressRules.parse(rules).judge("Wiki.", 80, found) == found


@pytest.mark.parametrize("rules", ["wiki:8080", "10.2.0.0/16", "wiki.example", "::/0"])
def test_what_is_allowed_allows_nothing_else(rules: str) -> None:
    with pytest.raises(AddressRefused):
        AddressRules.parse(rules).judge("wiki", 80, [ipaddress.ip_address("10.1.2.3")])


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.9", "100.64.0.1", "::1", "fd12::1", "::ffff:127.0.0.1"],
)
def test_near_addresses_are_this_machine_s_and_those_of_private_networks(address: str) -> None:
    found = [ipaddress.ip_address(address)]

    assert AddressRules(near=True).judge("model", 80, found) == found


@pytest.mark.parametrize(
    "address",
    """169.254.169.254 ::ffff:169.254.169.254 64:ff9b::a9fe:a9fe fd00:ec2::254 fd20:ce::254 100.100.100.200 fe80::1
    168.63.129.16 192.0.0.192 0.0.0.0 :: 224.0.0.1 255.255.255.255 ff02::1""".split(),
)
def test_no_near_address_is_link_local_a_cloud_s_own_or_nobody_s(address: str) -> None:
    with pytest.raises(AddressRefused):
        AddressRules(near=True).judge("model", 80, [ipaddress.ip_address(address)])


@pytest.mark.parametrize("rules", ["10.0.0.0/33", "http://wiki/", "two words"])
def test_what_is_no_host_or_network_is_refused(rules: str) -> None:
    with pytest.raises(InvalidInput):
        AddressRules.parse(rules)


@pytest.mark.parametrize("host", ["no-such-name.invalid", "a" * 300, "..", "a\x00b"])
async def test_a_name_without_an_address_says_so(host: str) -> None:
    with pytest.raises(HostUnknown):
        await resolve(host, 80)


@pytest.mark.parametrize(
    "url", ["wiki", "ftp://wiki/", "http://", "http://wiki:99999/", "http://[::1"]
)
def test_an_operator_s_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        AddressRules().allowing_url(url)


def test_an_operator_s_address_is_allowed_on_its_port_only() -> None:
    rules = AddressRules().allowing_url("http://wiki:8080/search")
    found = [ipaddress.ip_address("10.1.2.3")]

    assert rules.judge("wiki", 8080, found) == found
    with pytest.raises(AddressRefused):
        rules.judge("wiki", 80, found)

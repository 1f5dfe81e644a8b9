"""
The broadcast address is the prefix's last one: it needs no `brd`, and no host has another one.

    ip addr add 172.16.254.2/24 dev gretap1   ->   table local: broadcast 172.16.254.255 dev gretap1
"""

import ipaddress

import pytest

from lab.stack.changes import addr_add, addr_del

TABLE_LOCAL = 255  # rtnetlink(7)
DOCUMENTATION = "198.51.100.0"  # RFC 5737: meets no address of a lab or a live network

pytestmark = pytest.mark.requirement("BCAST-07")


def broadcast_routes(host, device, network):
    """The broadcast addresses of a network that a host has routes for on a device."""
    return {
        str(route.to.network_address)
        for route in host.node.read("routes")
        if (route.type, route.table, route.dev) == ("broadcast", TABLE_LOCAL, device) and route.to.subnet_of(network)
    }


def test_broadcast_route_exists_for_the_last_address_only(overlay, receiver, everyone):
    """On the overlay device, table local has one broadcast entry: for the last address of the overlay."""
    assert broadcast_routes(receiver, receiver.plan.device, receiver.plan.overlay.network) == {everyone}


def test_no_other_broadcast_address_was_set(overlay, receiver, everyone):
    """The overlay address has no `brd`, or that of its prefix; the kernel's broadcast entry is for that address."""
    address = receiver.address()
    entries = [entry for entry in receiver.node.read("addresses") if entry.local == address]

    assert {entry.broadcast for entry in entries} <= {None, everyone}
    assert len(entries) == 1
    assert broadcast_routes(receiver, receiver.plan.device, receiver.plan.overlay.network) == {everyone}


def test_first_address_of_the_prefix_is_no_broadcast(overlay, sender, everyone, listen):
    """A datagram to the .0 address reaches no host; one to the last address reaches every other host."""
    others = overlay.others(sender)
    first = str(sender.plan.overlay.network.network_address)

    with listen(others) as heard:
        sender.udp.send(b"to the first address of the prefix", to=first)
        to_everyone = sender.udp.send(to=everyone)

    assert heard.payloads == {name: [to_everyone.payload] for name in others}


@pytest.mark.disruptive
@pytest.mark.parametrize("length", [24, 30, 31, 32], ids=lambda length: f"prefix=/{length}")
def test_prefix_decides_whether_there_is_a_broadcast_address(mutable_lab, spoke1, length):
    """A /24 or /30 creates one broadcast entry, a /31 or /32 none."""
    device = spoke1.plan.device
    network = ipaddress.IPv4Network((DOCUMENTATION, length))
    address = {"device": device, "address": f"{network.network_address + (length < 31)}/{length}"}

    with spoke1.node.changed(addr_add(**address), addr_del(**address)):
        added = broadcast_routes(spoke1, device, network)

    assert added == ({str(network.broadcast_address)} if length < 31 else set())

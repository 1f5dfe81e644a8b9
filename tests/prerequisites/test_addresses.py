"""
All nodes agree on the overlay's prefix, no overlay address is used twice, and no other network overlaps it.

    172.16.254.1/24 hub     172.16.254.2/24 spoke1     172.16.254.3/24 spoke2       broadcast 172.16.254.255 (RFC 922)

Whether an address is a broadcast address is each host's own opinion: its routing table holds it.
"""

from ipaddress import IPv4Interface

import pytest

from fixtures.areas.underlay import configured, shared
from fixtures.probes import decode, layers
from lab.stack.changes import addr_add, addr_del

pytestmark = pytest.mark.requirement("PRE-09")

ARP_REQUEST, ARP_REPLY = 1, 2
ANYBODY = "ff:ff:ff:ff:ff:ff"
HOST_ONLY, TOO_WIDE = 32, 16


def test_all_have_one_prefix_and_its_broadcast_address(overlay, everyone):
    """Each host has its overlay address and the subnet's broadcast address, and no address with another prefix."""
    seen = configured(overlay)
    own = {name: host.plan.overlay for name, host in overlay.hosts.items()}
    addresses = {name: seen[name].addresses_of(host.plan.device) for name, host in overlay.hosts.items()}

    for name, address in own.items():
        found = ", ".join(map(str, addresses[name])) or "no address"
        assert address in addresses[name], f"{name} {overlay[name].plan.device}: found {found}; expected {address}"
    assert len({address.network for address in own.values()}) == 1
    # a virtual address of the subnet, which moves from host to host, has the same prefix or none (/32)
    others = [(own[name], address) for name, found in addresses.items() for address in found if address != own[name]]
    inside = [(one.network, other.network) for one, other in others if one.network.overlaps(other.network)]
    assert [str(other) for one, other in inside if other != one and other.prefixlen < 32] == []
    for name in own:
        found = ", ".join(sorted(seen[name].broadcasts)) or "none"
        assert everyone in seen[name].broadcasts, f"{name} has the broadcast addresses {found}; expected {everyone}"


def test_no_address_is_used_twice(overlay):
    """No two hosts have the same overlay address configured."""
    seen = configured(overlay)
    addresses = {name: seen[name].addresses_of(host.plan.device) for name, host in overlay.hosts.items()}
    every = {f"{name} {found}": str(found.ip) for name, addresses_of in addresses.items() for found in addresses_of}

    assert [name for name, found in addresses.items() if not found] == []
    assert shared(every) == {}


def test_no_other_network_overlaps(overlay):
    """No other interface has a network that overlaps the overlay's, or a route to it or to a part of it."""
    # the route to a wider range, such as a VPN's to 128.0.0.0/1, takes nothing away: the overlay's own is narrower
    overlapping = []
    for name, seen in configured(overlay).items():
        device, prefix = overlay[name].plan.device, overlay[name].plan.overlay.network
        others = [(other, address.network) for other, address in seen.addresses if other != device]
        others += [(route.dev, route.to) for route in seen.routes if route.dev != device and route.to.subnet_of(prefix)]
        overlapping += [f"{name} {other}: {network}" for other, network in others if network.overlaps(prefix)]

        own = [str(address.network) for address in seen.addresses_of(device)]
        assert str(prefix) in own, f"{name} {device}: found {', '.join(own) or 'no address'}; expected {prefix}"
    assert overlapping == []


def owners(lab, asker, address):
    """The MACs that answer for an address, as arping(8) finds them."""
    device, mac = asker.plan.device, asker.node.link(asker.plan.device).mac
    request = layers.Ether(src=mac, dst=ANYBODY) / layers.ARP(
        op=ARP_REQUEST, hwsrc=mac, psrc=asker.address(), pdst=address
    )
    lab.forget()
    asker.send_frame(device, bytes(request))
    asker.ping(lab.everyone)  # what it is answered comes after what the request is answered
    heard = [decode(seen) for seen in lab.frames() if (seen.node, seen.interface) == (asker.name, device)]
    replies = [packet[layers.ARP] for packet in heard if layers.ARP in packet]
    return {arp.hwsrc for arp in replies if (arp.op, arp.psrc, arp.hwdst) == (ARP_REPLY, address, mac)}


def test_one_host_answers_for_each_address(overlay, receiver):
    """Only the host that has an overlay address answers ARP requests for it (RFC 5227)."""
    asker = overlay[overlay.others(receiver)[0]]

    assert owners(overlay, asker, receiver.address()) == {receiver.node.link(receiver.plan.device).mac}


@pytest.mark.disruptive
def test_a_second_owner_is_noticed(build_lab):
    """With one overlay address on two spokes, two MACs answer for it."""
    lab = build_lab()
    owner, copycat = lab.spokes[0], lab.spokes[-1]
    copycat.node.apply(addr_add(copycat.plan.device, str(owner.plan.overlay)))

    assert owners(lab, lab.hub, owner.address()) == {host.node.link(host.plan.device).mac for host in (owner, copycat)}


def readdress(host, prefix):
    """The same address with another prefix length; returns the broadcast address that it then has."""
    device, other = host.plan.device, IPv4Interface((host.plan.overlay.ip, prefix))
    host.node.apply(
        addr_add(device, str(other)),
        addr_del(device, str(host.plan.overlay)),
    )
    return str(other.network.broadcast_address)


@pytest.mark.disruptive
@pytest.mark.parametrize("prefix", [HOST_ONLY, TOO_WIDE], ids=["/32", "/16"])
def test_another_prefix_length_makes_a_host_deaf(build_lab, prefix):
    """A spoke with /32 or /16 instead of /24 does not accept the others' broadcast; the others receive it."""
    lab = build_lab()
    sender, odd = lab.spokes[0], lab.spokes[-1]
    readdress(odd, prefix)

    with lab.listen(lab.others(sender)) as heard:
        sent = sender.udp.send(to=lab.everyone)

    assert heard.payloads == {**{name: [sent.payload] for name in lab.others(sender)}, odd.name: []}
    assert (odd.name, odd.plan.device) in {(seen.node, seen.interface) for seen in lab.frames([sent.payload])}


@pytest.mark.disruptive
@pytest.mark.parametrize("prefix", [HOST_ONLY, TOO_WIDE], ids=["/32", "/16"])
def test_another_prefix_length_makes_a_host_unheard(build_lab, prefix):
    """From a spoke with /32 to .255, or with /16 to its own 172.16.255.255, no host accepts it as broadcast."""
    lab = build_lab()
    odd = lab.spokes[-1]
    own = readdress(odd, prefix)

    with lab.listen(lab.others(odd)) as heard:
        odd.udp.send(to=lab.everyone if prefix == HOST_ONLY else own)

    heard.nothing(at=lab.others(odd))

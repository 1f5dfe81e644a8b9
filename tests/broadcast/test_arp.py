"""
ARP across the hub: the first broadcast of every connection, without which no unicast is sent.

    spoke1: who has spoke2? --tunnel1--( hub: bridge0 )--tunnel2--> spoke2: I have, at my own MAC
"""

import pytest

from fixtures.areas.underlay import configured
from fixtures.probes import decode, layers
from lab.stack.changes import neigh_del

pytestmark = pytest.mark.requirement("BCAST-08")

REPLY = 2  # RFC 826


def resolved(host, addresses):
    """The MAC addresses that a host has resolved some addresses to on the overlay."""
    entries = [entry for entry in host.node.read("neighbours") if entry.dev == host.plan.device]
    return {entry.dst: entry.lladdr for entry in entries if entry.dst in addresses}


def test_every_other_node_resolves_to_its_own_mac(overlay, sender, listen):
    """A node resolves each other one to that node's own MAC address, never to the hub's."""
    others = overlay.others(sender)

    with listen(others) as heard:
        sent = {name: [sender.udp.send(to=overlay[name].address()).payload] for name in others}

    assert heard.payloads == sent
    seen = configured(overlay)
    macs = {overlay[name].address(): seen[name].device(overlay[name].plan.device).mac for name in others}
    assert resolved(sender, macs) == macs


@pytest.mark.disruptive
def test_only_the_owner_answers(mutable_lab, sender):
    """A node without a neighbour entry sends an ARP request, and the only reply that it receives is the owner's."""
    overlay = mutable_lab
    # hubs know the hosts that watch their bonds' legs by ARP without having asked
    watching = sender.is_hub and overlay.spokes[0].plan.holder == "bond"
    owner = overlay[[name for name in overlay.others(sender) if not watching or overlay[name].is_hub][-1]]
    sender.ping(owner.address())
    # the owner's first: a host that verifies an entry sends a request, and its receiver records the address
    forget_neighbour(owner, sender)
    forget_neighbour(sender, owner)
    overlay.forget()

    sender.ping(owner.address()).exactly_once_by([owner.name])

    arp = [decode(seen)[layers.ARP] for seen in overlay.frames() if is_arp(seen, sender) and not seen.outgoing]
    replies = [reply.hwsrc for reply in arp if reply.op == REPLY and reply.psrc == owner.address()]
    assert replies == [owner.node.link(owner.plan.device).mac]


def forget_neighbour(host, other):
    """The host has no neighbour entry for the other one; a host that sends no requests had none before."""
    if resolved(host, [other.address()]):
        host.node.apply(neigh_del(host.plan.device, other.address()))


def is_arp(sighting, host):
    """Whether a frame is ARP on the host's overlay device."""
    return (sighting.node, sighting.interface) == (host.name, host.plan.device) and sighting.frame[12:14] == b"\x08\x06"

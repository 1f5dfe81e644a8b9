"""
Multicast delivery: every member receives one unaltered copy, from any sender and for any group.

    spoke1 --tunnel1--( hub: bridge0 )--tunnel2-- spoke2        members on every node, one sender at a time
"""

import pytest

from lab import groups

UDP_AND_IP = 28  # octets of header in front of a datagram's payload
SIZES = (16, 512, 1200)  # octets; the largest fits into the overlay of every cloud

ASM = groups.fresh()
GROUPS = {
    "asm": ASM,
    "admin-scoped": groups.fresh(groups.ORGANIZATION),
    "ssm": groups.fresh(groups.SOURCE_SPECIFIC),
    "glop": groups.fresh(groups.EXAMPLES),
    "link-local": pytest.param("224.0.0.251", marks=pytest.mark.needs("link-local groups")),  # RFC 5771
}

pytestmark = pytest.mark.requirement("MCAST-01")


def test_reaches_every_member_exactly_once(overlay, sender, listen, record_heard):
    """A plain socket's datagram to a joined group is received once by each member, the sender's own included."""
    members = [sender.name, *overlay.others(sender)]

    with listen(members, group=ASM) as heard:
        sender.udp.send(to=ASM)

    record_heard("multicast", sender, heard)
    heard.exactly_once(at=members)


def test_every_host_reaches_every_member(overlay, listen, record_heard):
    """With any number of hosts, a datagram from each host is received once by all members, its sender included."""
    with listen(overlay.hosts, group=ASM) as heard:
        for sender in overlay.hosts.values():
            sender.udp.send(to=ASM, lost_if_refused=True)

    for sender in overlay.hosts.values():
        record_heard("multicast", sender, heard)
    heard.exactly_once(at=overlay.hosts)


@pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)
def test_reaches_the_members_of_every_kind_of_group(overlay, listen, group):
    """Each node's datagram to any kind of group, sent from the overlay's interface, reaches every member once."""
    all_hosts = list(overlay.hosts)

    with listen(all_hosts, group=group) as heard:
        for sender in overlay.hosts.values():
            sender.udp.send(to=group, multicast_interface=sender.address())

    heard.exactly_once(at=all_hosts)


def test_comes_from_the_senders_overlay_address(overlay, sender, listen):
    """Every member sees the sender's overlay address and port as the source, and the group as the destination."""
    members = overlay.others(sender)

    with listen(members, group=ASM) as heard:
        sent = sender.udp.send(to=ASM, wait=True)

    port = sent.source[1]
    seen = {name: (heard.one(name).source, heard.one(name).destination) for name in members}
    assert seen == {name: ((sender.address(), port), ASM) for name in members}


def test_arrives_whatever_its_size(overlay, sender, listen):
    """Multicast payloads of any size up to the overlay's MTU arrive complete and unaltered."""
    members = overlay.others(sender)
    largest = sender.node.link(sender.plan.device).mtu - UDP_AND_IP

    with listen(members, group=ASM) as heard:
        for size in (*SIZES, largest):
            sender.udp.send(to=ASM, size=size)

    heard.exactly_once(at=members)


def test_numbered_lines_arrive_in_order(overlay, sender, listen):
    """Twenty numbered multicast datagrams in a row arrive at every member, each once and in their order."""
    members = overlay.others(sender)
    lines = [f"{number:02}: multicast from {sender}".encode() for number in range(20)]

    with listen(members, group=ASM) as heard:
        sender.udp.send(lines, to=ASM)

    assert heard.payloads == dict.fromkeys(members, lines)


@pytest.mark.parametrize("share", ["address", "port"], ids=["SO_REUSEADDR", "SO_REUSEPORT"])
def test_every_member_socket_of_a_host_receives_its_own_copy(overlay, receiver, listen, share):
    """Two member sockets on one port of a host each receive one copy."""
    sender = overlay[overlay.others(receiver)[-1]]

    with listen([receiver], group=ASM, share=share) as first:
        with listen([receiver], group=ASM, share=share, port=first.port) as second:
            sender.udp.send(to=ASM)

    first.exactly_once(at=[receiver.name])
    second.exactly_once(at=[receiver.name])

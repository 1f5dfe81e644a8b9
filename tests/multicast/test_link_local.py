"""
224.0.0.0/24 reaches all nodes: a snooping bridge must not prune it, with or without members (RFC 4541 2.1.2).

    spoke1 -- 224.0.0.251 -->( hub: bridge0, querier )--> spoke2, member or not
    spoke1 -- 224.9.9.9   -->( hub: bridge0, querier )    no member: pruned
"""

import time

import pytest

from lab import groups
from lab.stack.changes import bridge, link_set

ROUTING, MDNS = "224.0.0.5", "224.0.0.251"
UNREGISTERED = groups.fresh()
SNOOPING_DEADLINE = 5.0  # seconds until a bridge that has become querier must prune; in practice two clock ticks
# A new querier floods everything for the length of its response interval: here 1/100 s, set before, not 10 s.
QUERIER = (bridge(mcast_query_response_interval=1), bridge(mcast_querier=1))

pytestmark = pytest.mark.requirement("MCAST-12")


def reached(lab, senders, group):
    """For each sender the hosts whose overlay device received its datagram to the group, members or not."""
    with lab.listen(lab.hosts, group=group, join=False) as heard:
        sent = {sender.name: sender.udp.send(to=group, multicast_interface=sender.address()) for sender in senders}
    devices = {(host.name, host.plan.device) for host in lab.hosts.values()}
    received = [seen for seen in heard.sightings() if not seen.outgoing and (seen.node, seen.interface) in devices]
    return {name: {seen.node for seen in received if one.payload in seen.frame} for name, one in sent.items()}


@pytest.fixture
def snooping_lab(build_lab):
    """A private lab whose bridge is a querier and prunes what no member asked for."""
    lab = build_lab()
    for hub in lab.hubs if lab.topology.doubled else [lab.hub]:
        hub.node.apply(*(link_set(hub.plan.device, parameters) for parameters in QUERIER))
    deadline = time.monotonic() + SNOOPING_DEADLINE
    hubs = {hub.name for hub in lab.hubs}
    while reached(lab, [lab["spoke1"]], UNREGISTERED)["spoke1"] - hubs and time.monotonic() < deadline:
        pass  # each turn waits for packets; the tests judge a hub that still floods
    return lab


@pytest.mark.parametrize("group", [ROUTING, MDNS])
def test_reaches_every_node_without_a_querier(overlay, sender, listen, group):
    """A datagram to 224.0.0.x is received once by a member on every other node."""
    members = overlay.others(sender)

    with listen(members, group=group) as heard:
        sender.udp.send(to=group, multicast_interface=sender.address())

    heard.exactly_once(at=members)


@pytest.mark.disruptive
def test_reaches_every_node_without_members(snooping_lab):
    """With a querier and no member anywhere 224.0.0.x reaches every other node, an unregistered group no spoke."""
    senders = list(snooping_lab.hosts.values())
    others = {sender.name: set(snooping_lab.others(sender)) for sender in senders}

    routing, mdns, unregistered = (reached(snooping_lab, senders, group) for group in (ROUTING, MDNS, UNREGISTERED))

    assert (routing, mdns) == (others, others)
    assert set().union(*unregistered.values()) <= {hub.name for hub in snooping_lab.hubs}


@pytest.mark.disruptive
def test_members_receive_it_on_a_snooping_bridge(snooping_lab):
    """With a querier members of 224.0.0.251 on every node receive one copy of each node's datagram."""
    with snooping_lab.listen(snooping_lab.hosts, group=MDNS) as heard:
        for sender in snooping_lab.hosts.values():
            sender.udp.send(to=MDNS, multicast_interface=sender.address())

    heard.exactly_once(at=snooping_lab.hosts)

"""
Multicast DNS over the overlay: a host's name is found from every other node, on any bridge and any underlay.

    spoke1: avahi-daemon: I am name.local --224.0.0.251-->( hub: bridge0 )--> everyone
    spoke1: avahi-daemon  <--224.0.0.251--( hub: bridge0 )-- who is name.local? :spoke2
"""

import secrets
import time

import pytest

pytestmark = [pytest.mark.requirement("APP-02"), pytest.mark.provoking]
UNREGISTERED = "224.9.9.9"
PRUNES_WITHIN = 5.0  # seconds; in practice two clock ticks
# A new querier floods everything for the length of its response interval: here 1/100 s, set before, not 10 s.
QUERIER = ([["IFLA_BR_MCAST_QUERY_RESPONSE_INTVL", 1]], [["IFLA_BR_MCAST_QUERIER", 1]])
NOT_REPORTED = {"net.ipv4.igmp_link_local_mcast_reports": 0}


def plain(build_lab):
    """A bridge as it is made: it snoops, and nobody queries."""
    return build_lab(spokes=2)


def flooding(build_lab):
    """A bridge that does not snoop."""
    lab = build_lab(spokes=2)
    bridge = {"device": lab.topology.bridge, "kind": "bridge", "data": [["IFLA_BR_MCAST_SNOOPING", 0]]}
    lab.hub.node.apply(("link_set", bridge))
    return lab


def querying(build_lab):
    """A bridge that queries and prunes, and hosts that report no membership of 224.0.0.x."""
    lab = build_lab(spokes=2)
    for host in lab.hosts.values():
        host.node.write_sysctls(NOT_REPORTED)
    bridge = {"device": lab.topology.bridge, "kind": "bridge"}
    lab.hub.node.apply(*(("link_set", {**bridge, "data": data}) for data in QUERIER))
    deadline = time.monotonic() + PRUNES_WITHIN
    while reaches_a_spoke(lab, UNREGISTERED):
        assert time.monotonic() < deadline, "the bridge became querier and goes on flooding unregistered groups"
    return lab


def routed(build_lab):
    """A router between the hub and the spokes."""
    return build_lab(spokes=2, routers=1)


def reaches_a_spoke(lab, group):
    sender, receiver = lab.spokes
    with lab.listen([receiver], group=group, join=False) as heard:
        sender.udp.send(to=group, multicast_interface=sender.address())
    return any(seen.node == receiver.name and seen.interface == receiver.plan.device for seen in heard.sightings())


@pytest.mark.parametrize("make", [plain, flooding, querying, routed], ids=lambda make: make.__name__)
def test_a_name_is_found_from_every_node(build_lab, mdns, make):
    """A name is announced to every other node with TTL 255, and is answered for when any of them asks."""
    lab = make(build_lab)
    publisher = lab.spokes[0]
    others = [host for host in lab.hosts.values() if host is not publisher]
    name = "oc" + secrets.token_hex(6)

    mdns.publish(publisher, name)

    assert [mdns.announcement(host, name, publisher).frame[22] for host in others] == [mdns.TTL] * len(others)
    assert [mdns.find(host, name) for host in others] == [publisher.address()] * len(others)

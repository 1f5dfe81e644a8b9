"""
Multicast DNS over the overlay: a host's name is found from every other node, on any bridge and any underlay.

    spoke1: avahi-daemon: I am name.local --224.0.0.251-->( hub: bridge0 )--> everyone
    spoke1: avahi-daemon  <--224.0.0.251--( hub: bridge0 )-- who is name.local? :spoke2
"""

import secrets

import pytest

from fixtures.areas.applications import mdns
from fixtures.areas.snooping import await_pruning

pytestmark = [pytest.mark.requirement("APP-02"), pytest.mark.disruptive]
# In clock ticks of 1/100 s: a new querier floods everything for the length of its response interval, 10 s by default.
QUERIER = {"mcast_query_response_interval": 10, "mcast_querier": 1}
NOT_REPORTED = {"net.ipv4.igmp_link_local_mcast_reports": 0}


@pytest.fixture
def plain(build_lab):
    """A bridge with its defaults: it snoops, and there is no querier."""
    return build_lab(spokes=2)


@pytest.fixture
def flooding(build_lab):
    """A bridge that does not snoop."""
    return build_lab(spokes=2, bridge={"mcast_snooping": 0})


@pytest.fixture
def querying(build_lab):
    """A bridge that queries and prunes, and hosts that report no membership of 224.0.0.x."""
    lab = build_lab(spokes=2, bridge=QUERIER)
    for host in lab.hosts.values():
        host.node.write_sysctls(NOT_REPORTED)
    await_pruning(lab)
    return lab


@pytest.fixture
def routed(build_lab):
    """A router between the hub and the spokes."""
    return build_lab(spokes=2, routers=1)


@pytest.mark.parametrize("lab", ["plain", "flooding", "querying", "routed"], ids="overlay={}".format)
def test_a_name_is_found_from_every_node(request, lab):
    """A name is announced to every other node with TTL 255, and each of them that queries for it gets an answer."""
    lab = request.getfixturevalue(lab)
    publisher = lab.spokes[0]
    others = [host for host in lab.hosts.values() if host is not publisher]
    name = "oc" + secrets.token_hex(6)

    mdns.publish(publisher, name)

    assert [mdns.announcement(host, name, publisher).frame[22] for host in others] == [mdns.TTL] * len(others)
    assert [mdns.find(host, name) for host in others] == [publisher.address()] * len(others)

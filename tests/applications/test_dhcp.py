"""
DHCP over the overlay: a client's broadcast reaches a server on any host, and the client gets its lease.

    spoke1: udhcpc -- DISCOVER to 255.255.255.255 -->( hub: bridge0 )--> spoke2
                                     dnsmasq on the hub, or on a spoke
"""

from ipaddress import IPv4Address

import pytest

from fixtures.areas.applications import dhcp
from lab.model import LIMITED_BROADCAST

pytestmark = [pytest.mark.requirement("APP-01"), pytest.mark.disruptive]
NOWHERE = "0.0.0.0"


@pytest.fixture(params=["hub", "spoke2"], ids=["server=hub", "server=spoke2"])
def served(request, build_lab):
    """A lab in which dnsmasq serves on one host: (lab, the server)."""
    lab = build_lab(spokes=2)
    dhcp.serve(lab[request.param])
    return lab, lab[request.param]


def clients(lab, server):
    return [host for host in lab.hosts.values() if host is not server]


@pytest.mark.parametrize("broadcast", [False, True], ids=["answers=unicast", "answers=broadcast"])
def test_every_other_host_is_leased_an_address(served, broadcast):
    """Each of the other hosts is leased an address of its own, from the server's overlay address."""
    lab, server = served

    leases = [dhcp.lease(client, broadcast=broadcast) for client in clients(lab, server)]

    first, last = map(IPv4Address, dhcp.pool(server))
    assert {lease.server for lease in leases} == {server.address()}
    assert all(first <= IPv4Address(lease.address) <= last for lease in leases)
    assert len({lease.address for lease in leases}) == len(leases)


def test_the_discover_is_a_broadcast_from_nowhere(served):
    """The client's DISCOVER reaches the server from 0.0.0.0 to 255.255.255.255; the offer is the server's."""
    lab, server = served
    client = clients(lab, server)[0]

    dhcp.lease(client)

    seen = dhcp.bare(lab.frames())
    ways = {(kind, one.source, one.destination) for kind, one in arrivals(seen, server, dhcp.DISCOVER)}
    assert ways == {(dhcp.DISCOVER, NOWHERE, LIMITED_BROADCAST)}
    assert {one.source for _, one in arrivals(seen, client, dhcp.OFFER)} == {server.address()}


def arrivals(seen, host, kind):
    """The messages of a kind that arrived at a host's overlay device."""
    for one in seen:
        where = one.sighting
        if one.kind == kind and (where.node, where.interface, where.outgoing) == (host.name, host.plan.device, False):
            yield one.kind, one


def test_nothing_leaks_to_the_underlay(served):
    """Every DHCP message crosses the cloud's network in tunnel packets, and none without."""
    lab, server = served

    for client in clients(lab, server):
        dhcp.lease(client)

    overlay = {(host.name, host.plan.device) for host in lab.hosts.values()}
    overlay |= {(lab.hub.name, port) for port in lab.topology.ports("hub")}
    places = {(one.sighting.node, one.sighting.interface) for one in dhcp.bare(lab.frames())}
    assert places - overlay == set()
    assert places == overlay

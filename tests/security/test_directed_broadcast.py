"""
A directed broadcast from outside: the hub receives it for its own address, and does not forward it.

    x --to 172.16.254.255, via 10.0.0.197--> hub      bc_forwarding 0: hub alone     1: every spoke (smurf)
"""

import pytest

from lab.stack.changes import route_add

pytestmark = pytest.mark.requirement("SEC-05")

FORWARDING, DIRECTED = "net.ipv4.ip_forward", "net.ipv4.conf.{}.bc_forwarding"


def test_no_host_forwards_directed_broadcast(overlay):
    """On each host bc_forwarding is off, for all interfaces together or for each of them."""
    on = []
    for host in overlay.hosts.values():
        names = [link.name for link in host.node.read("links")]
        # the kernel needs both: that of all interfaces, and that of the receiving one
        if host.node.sysctl(DIRECTED.format("all")) == "1":
            on += [f"{host} {name}" for name in names if host.node.sysctl(DIRECTED.format(name)) == "1"]

    assert on == []


@pytest.fixture
def heard_of_outside(outside):
    """A VM outside routes the overlay's subnet to the hub and sends a broadcast to it; returns the receivers."""
    lab, stranger = outside
    hub, network = lab.hub.address("underlay"), lab.topology.hub.overlay.network
    stranger.node.apply(route_add(str(network), stranger.plan.nic, via=hub))

    def send():
        with lab.listen(lab.hosts) as heard:
            sent = stranger.udp.send(to=lab.everyone, port=heard.port).payload
            assert stranger.ping(hub, network="underlay").counts == {"hub": 1}
            proof = lab.spokes[-1].udp.send(to=lab.everyone).payload
        assert all(proof in payloads for payloads in heard.payloads.values())
        return {name for name, payloads in heard.payloads.items() if sent in payloads}

    return send


@pytest.mark.disruptive
def test_from_outside_it_ends_at_the_hub(outside, heard_of_outside):
    """Only the hub receives a broadcast from outside, with IP forwarding or without, unless bc_forwarding is on."""
    hub = outside[0].hub.node

    for forwarding in (0, 1):
        hub.write_sysctls({FORWARDING: forwarding})
        assert heard_of_outside() == {"hub"}

    hub.write_sysctls({DIRECTED.format(name): 1 for name in ("all", outside[0].hub.plan.nic)})
    assert heard_of_outside() == set(outside[0].others(outside[0].hub))

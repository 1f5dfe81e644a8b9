"""
The bridge's own MAC address: the hub's address on the overlay hangs at it.

    hub: bridge0  MAC pinned      ports come and go, spokes' ARP entries stay right
                  MAC not pinned  the lowest of the ports': a new spoke may change it (br_stp_if.c)
"""

import pytest

from lab.stack.changes import link_set

pytestmark = pytest.mark.requirement("HUB-08")

LOWEST = "02:00:00:00:00:01"


def bridge_mac(lab):
    """The MAC address of the hub's bridge."""
    return lab.hub.node.link(lab.topology.bridge).mac


def test_is_not_a_ports(overlay):
    """bridge0 has a MAC address that none of its ports has."""
    topology = overlay.topology
    bridge, *ports = overlay.hub.node.links(topology.bridge, *topology.ports("hub"))

    macs = sorted({port.mac for port in ports})
    assert bridge.mac not in macs, (
        f"hub {topology.bridge} has the MAC of a port, {bridge.mac}; expected one that no port has "
        f"(ports: {', '.join(macs)})"
    )


@pytest.mark.disruptive
def test_stays_when_a_port_gets_a_lower_one(mutable_lab):
    """A port with a lower MAC address does not change bridge0's, and the hub stays reachable."""
    port = mutable_lab.topology.ports("hub")[0]
    own, before = mutable_lab.hub.node.link(port).mac, bridge_mac(mutable_lab)
    change, undo = (link_set(port, address=mac) for mac in (LOWEST, own))

    with mutable_lab.hub.node.changed(change, undo), mutable_lab.listen(["hub"]) as heard:
        mutable_lab["spoke1"].udp.send(to=mutable_lab.hub.address())
        now = bridge_mac(mutable_lab)

    assert now == before, (
        f"hub {mutable_lab.topology.bridge}: its MAC changed to {now} when a port got a lower MAC; "
        f"expected {before}, unchanged"
    )
    heard.exactly_once(at=["hub"])


@pytest.mark.disruptive
def test_follows_its_ports_unless_pinned(build_lab):
    """With the article's set-up, bridge0 has the lowest MAC address of its ports."""
    lab = build_lab(topology="article")

    lab.hub.node.apply(link_set(lab.topology.ports("hub")[-1], address=LOWEST))

    assert bridge_mac(lab) == LOWEST

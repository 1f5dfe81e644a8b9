"""
Spokes trust each other: one frame is enough to have another one's unicast, unless the hub's ports are locked.

    spoke2 --frame from spoke1's MAC--> tunnel2 ( hub: bridge0 ) --what is for spoke1--> spoke2
"""

import pytest

from fixtures.requirements import not_applicable
from lab.stack.changes import bridge_port, fdb_replace

pytestmark = [pytest.mark.requirement("SEC-06"), pytest.mark.disruptive]

EXPERIMENTAL = bytes.fromhex("88b5")  # IEEE Std 802, local experimental
UNKNOWN_MAC = bytes.fromhex("0200000000fe")


def mac_of(spoke):
    """The MAC address of a spoke on the overlay."""
    return spoke.node.link(spoke.plan.device).mac


@pytest.fixture
def theft(tag):
    """The second spoke takes the first one's MAC; returns the spokes that then get the hub's unicast to the first."""

    def steal(lab):
        owner, thief = lab.spokes[:2]
        lab.hub.ping(owner.address())  # the hub has resolved the MAC address and sends no ARP broadcast
        source = bytes.fromhex(mac_of(owner).replace(":", ""))

        with lab.listen([owner]) as heard:
            thief.send_frame(thief.plan.device, UNKNOWN_MAC + source + EXPERIMENTAL + tag)
            assert thief.ping(lab.hub.address("underlay"), network="underlay").counts == {"hub": 1}
            secret = lab.hub.udp.send(to=owner.address()).payload
            owner.udp.send(to=lab.hub.address(), port=heard.port)  # so that it is found again where it is
        return {
            spoke.name
            for spoke in (owner, thief)
            for one in lab.frames([secret])
            if (one.node, one.interface, one.outgoing) == (spoke.name, spoke.entry_device, False)
        }

    return steal


@pytest.mark.usefixtures("without_stp", "one_way")
def test_any_spoke_can_take_anothers_unicast(mutable_lab, spoke2, theft):
    """After a spoke has sent a frame with another's MAC address as source, it receives the other's unicast."""
    assert theft(mutable_lab) == {spoke2.name}


def test_a_locked_port_admits_its_own_address_only(build_lab, theft):
    """With the hub's ports locked to their spokes' MAC addresses no spoke gets another's unicast, and all deliver."""
    lab = build_lab()
    for spoke in lab.spokes:
        port = lab.topology.port("hub", spoke.name)
        lab.hub.node.apply(
            fdb_replace(port, mac_of(spoke)),
            bridge_port(port, learning=0, locked=1),
        )
    locked = [port.flags.get("locked") for port in lab.hub.node.read("ports")]
    if 1 not in locked:
        not_applicable(f"{lab.machine.name} has no locked ports (Linux 5.18)")

    assert theft(lab) == {"spoke1"}
    for host in lab.hosts.values():
        host.ping(lab.everyone).exactly_once_by(lab.hosts)

"""
A MAC address moves to another port: after one frame with it as source, the hub forwards its frames there.

    spoke2 --frame from spoke1's MAC--> tunnel2 ( hub: FDB spoke1 -> tunnel2 )      spoke1's unicast goes to spoke2
"""

import pytest

from fixtures.areas.snooping import hub_port

pytestmark = pytest.mark.requirement("FAULT-05")

EXPERIMENTAL = bytes.fromhex("88b5")  # IEEE Std 802, local experimental
UNKNOWN_MAC = bytes.fromhex("0200000000fe")


def mac_of(spoke):
    """The MAC address of a spoke on the overlay."""
    return spoke.node.link(spoke.plan.device).mac


def port_of(lab, mac):
    """The hub's port at which its bridge has a MAC address; None without an entry."""
    entries = [entry for entry in lab.hub.node.read("fdb") if entry.master]  # not a VXLAN device's own
    return next((entry.dev for entry in entries if entry.lladdr == mac), None)


@pytest.fixture
def speak(tag):
    """A spoke sends one frame with a MAC address as its source, to an unused address; the hub has received it then."""

    def send(spoke, mac):
        source = bytes.fromhex(mac.replace(":", ""))
        spoke.send_frame(spoke.plan.device, UNKNOWN_MAC + source + EXPERIMENTAL + tag)
        # the answer comes after it, on the same way, and moves no MAC address of the overlay
        assert spoke.ping(spoke.hosts["hub"].address("underlay"), network="underlay").counts == {"hub": 1}

    return send


def arrivals(lab, payload):
    """The spokes at whose tunnel device a payload arrived."""
    seen = lab.frames([payload])
    return {spoke.name for spoke in lab.spokes for one in seen if is_arrival(one, spoke)}


def is_arrival(one, spoke):
    """Whether a frame arrived at a spoke's tunnel device."""
    return (one.node, one.interface, one.outgoing) == (spoke.name, spoke.entry_device, False)


def test_every_spoke_is_at_its_port(overlay, spoke):
    """After a spoke has sent, the hub's bridge has the spoke's MAC address at the spoke's port."""
    spoke.ping(overlay.hub.address())

    assert port_of(overlay, mac_of(spoke)) == hub_port(overlay, spoke.name)


@pytest.mark.disruptive
@pytest.mark.usefixtures("one_way")
def test_one_frame_moves_it_and_one_moves_it_back(mutable_lab, spoke1, spoke2, speak):
    """One frame with a MAC address from another port moves the address there in the hub's table; one moves it back."""
    mac, ports = mac_of(spoke1), {name: mutable_lab.topology.port("hub", name) for name in ("spoke1", "spoke2")}
    moves = []

    for spoke in (spoke1, spoke2, spoke1):
        speak(spoke, mac)
        moves.append(port_of(mutable_lab, mac))

    assert moves == [ports["spoke1"], ports["spoke2"], ports["spoke1"]]


@pytest.mark.disruptive
@pytest.mark.usefixtures("without_stp", "one_way")
def test_unicast_follows_it(mutable_lab, spoke1, spoke2, speak):
    """Of two spokes that send with one MAC address, the last sender receives the frames for it."""
    mac, hub = mac_of(spoke1), mutable_lab.hub
    hub.ping(spoke1.address())  # the hub has resolved the MAC address and sends no ARP broadcast

    with mutable_lab.listen([spoke1]) as heard:
        speak(spoke2, mac)
        astray = hub.udp.send(to=spoke1.address()).payload
        speak(spoke1, mac)
        arrived = hub.udp.send(to=spoke1.address()).payload

    assert heard.payloads == {spoke1.name: [arrived]}
    assert (arrivals(mutable_lab, astray), arrivals(mutable_lab, arrived)) == ({spoke2.name}, {spoke1.name})

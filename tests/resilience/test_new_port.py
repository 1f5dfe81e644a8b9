"""
A port that is new to a bridge: with spanning tree it listens, then learns, and only then forwards.

    hub: ip link set tunnel2 master bridge0     listening  --delay-->  learning  --delay-->  forwarding
"""

import pytest

from fixtures.areas.resilience import await_port
from fixtures.areas.underlay import port_flags
from fixtures.probes import layers
from lab.stack.changes import bridge, link_set

pytestmark = pytest.mark.requirement("FAULT-07")

DISABLED, LISTENING, LEARNING, FORWARDING = "disabled", "listening", "learning", "forwarding"
SHORT_DELAY = 0.1  # seconds, by a root's message: what a bridge sets for itself is 2 s at least
TICKS = 0.04  # seconds that a kernel with 100 clock ticks a second may fire its timers early, two timers


@pytest.fixture
def attach(mutable_lab, without_stp):
    """The changes that make the last spoke's tunnel a new port of the hub's bridge: (port, changes)."""
    port = mutable_lab.topology.port("hub", mutable_lab.spokes[-1].name)
    return port, renewed(mutable_lab, port)


def renewed(lab, port):
    """A port leaves the bridge and enters it."""
    out = link_set(port, nomaster=True)
    back = link_set(port, master=lab.topology.bridge)
    return out, back


@pytest.fixture
def spanning_tree(mutable_lab):
    """The hub's bridge runs STP for a `with` block; then no port remembers a root, whose delay it would keep."""
    on, off = (link_set(mutable_lab.topology.bridge, bridge(stp_state=value)) for value in (1, 0))
    ports = [change for port in mutable_lab.topology.ports("hub") for change in renewed(mutable_lab, port)]
    return mutable_lab.hub.node.changed(on, [off, *ports])


def root_bpdu(delay):
    """A configuration BPDU (802.1D 9.3.1) of a root, whose forward delay every bridge adopts."""
    root = "02:00:00:00:00:01"
    message = layers.STP(rootid=0, rootmac=root, bridgeid=0, bridgemac=root, portid=0x8001, fwddelay=delay)
    return bytes(layers.Dot3(src=root, dst="01:80:c2:00:00:00") / layers.LLC() / message)


def test_every_port_forwards(overlay):
    """Each of the hub's tunnels is a port, and none is still listening or learning."""
    states = {name: port.state for name, port in port_flags(overlay).items()}

    assert states == dict.fromkeys(states, FORWARDING)


@pytest.mark.disruptive
def test_without_spanning_tree_it_forwards_at_once(mutable_lab, attach):
    """With STP off the port goes from disabled to forwarding, and its spoke receives the next broadcast."""
    port, changes = attach

    states = await_port(mutable_lab.hub, port, *changes, last=FORWARDING)
    with mutable_lab.listen([mutable_lab.spokes[-1]]) as heard:
        mutable_lab.hub.udp.send(to=mutable_lab.everyone)

    assert [state for state, _ in states] == [DISABLED, FORWARDING]
    heard.exactly_once(at=[mutable_lab.spokes[-1].name])


@pytest.mark.disruptive
@pytest.mark.usefixtures("one_way")
def test_while_listening_it_delivers_nothing(mutable_lab, attach, spanning_tree):
    """With STP on a new port listens for the forward delay; its spoke neither receives from spokes nor reaches them."""
    (port, changes), spoke = attach, mutable_lab.spokes[-1]

    with spanning_tree:
        states = await_port(mutable_lab.hub, port, *changes, last=LISTENING)
        with mutable_lab.listen(mutable_lab.others("hub")) as heard:
            sent = mutable_lab.hub.udp.send(to=mutable_lab.everyone).payload
            own = spoke.udp.send(to=mutable_lab.everyone).payload

    assert states[-1][0] == LISTENING
    receivers = [name for name in mutable_lab.others("hub") if name != spoke.name]
    assert heard.payloads == {spoke.name: [own], **{name: [sent] for name in receivers}}


@pytest.mark.disruptive
def test_it_forwards_after_twice_the_forward_delay(mutable_lab, spoke1, spoke2, attach, spanning_tree, record_figure):
    """With STP on the port listens and learns for a forward delay each; then its spoke receives the next broadcast."""
    port, changes = attach

    with spanning_tree:
        spoke1.send_frame(spoke1.plan.device, root_bpdu(SHORT_DELAY))
        mutable_lab.hub.ping(spoke1.address())
        states = await_port(mutable_lab.hub, port, *changes, last=FORWARDING)
        with mutable_lab.listen([mutable_lab.spokes[-1]]) as heard:
            mutable_lab.hub.udp.send(to=mutable_lab.everyone)

    assert [state for state, _ in states] == [DISABLED, LISTENING, LEARNING, FORWARDING]
    begun, done = states[0][1], states[-1][1]
    assert done - begun >= 2 * SHORT_DELAY - TICKS
    heard.exactly_once(at=[mutable_lab.spokes[-1].name])
    record_figure(f"a new port forwards, forward delay {SHORT_DELAY:g} s", 1000 * (done - begun))

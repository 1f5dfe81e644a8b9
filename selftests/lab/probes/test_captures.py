"""What captures did not see may have been there: a capture that lost frames proves nothing absent."""

import pytest

from lab.errors import CheckFailed, FramesLost
from lab.machines.node import Agent
from lab.probes.capture import sightings
from lab.probes.payloads import fresh_port, unique
from lab.stack.changes import link_set

MANY, LARGE = 700, 8000  # datagrams, and octets of each: more than a capture has room for between two looks


def test_a_capture_reports_lost_frames_until_it_is_cleared(lab):
    """Frames that there was no room for end a look at captures, and no later one."""
    lab.forget()
    lab.hub.udp.send([unique(LARGE)] * MANY, to=lab.everyone, port=fresh_port())

    with pytest.raises(FramesLost, match=r"captures lost frames \(.* at hub"):
        lab.frames()

    lab.forget()
    with lab.listen(["spoke1"]) as heard:
        sent = lab.hub.udp.send(to=lab.everyone)
    assert lab.frames([sent.payload])
    heard.exactly_once(at=["spoke1"])


@pytest.fixture
def overflown(lab):
    """A listening in whose block the hub's capture lost frames, and a port of the hub's bridge was down."""
    port = lab.topology.port("hub", "spoke1")
    lab.forget()
    with lab.hub.node.changed(link_set(port, up=False), link_set(port, up=True)), lab.listen(["spoke1"]) as heard:
        lab.hub.udp.send([unique(LARGE)] * MANY, to=lab.everyone, port=fresh_port())
        lab.hub.udp.send(to=lab.everyone)
    yield heard
    lab.forget()


def test_nothing_is_judged_by_an_incomplete_capture(lab, overflown):
    """A capture that lost frames does not return the others as complete, and no caller waits in vain."""
    with pytest.raises(FramesLost):
        overflown.sightings()
    with pytest.raises(FramesLost):
        sightings.wait(lab.hub.node, lab.hub.plan.device, [], tag=unique(), count=1, timeout=0.1)


def test_a_loss_is_reported_without_its_place_where_captures_are_incomplete(overflown):
    """A datagram that sockets did not receive is still missing; the place of its loss is unknown."""
    with pytest.raises(CheckFailed, match=r"spoke1: missing(.|\n)*seen: not known, because captures lost frames"):
        overflown.exactly_once(at=["spoke1"])


OWN, OTHERS = 25000, 5000  # ports


@pytest.mark.parametrize("key", [None, 7], ids=["plain", "key=7"])
def test_a_tap_of_a_busy_host_leaves_out_other_programs(make_lab, key):
    """UDP of ports that are not the run's is not kept, bare or in a tunnel; everything else is, fragments included."""
    lab = make_lab(**({"key": key} if key else {}))
    spoke, port = lab["spoke1"], lab.topology.options.port
    lab.forget()
    nodes = list(lab.nodes.values())
    lab.machine.call(Agent.tap_own, nodes=[node.handle for node in nodes], first=20000, last=31999, vxlan=port)

    def kept(to, **fields):
        with lab.listen(["hub"]):
            sent = spoke.udp.send(to=to, **fields).payload
        # the answer is a port unreachable error, with the datagram in it
        forth = {("spoke1", True), ("hub", False)}
        return {(one.node, one.interface) for one in lab.frames([sent[:40]]) if (one.node, one.outgoing) in forth}

    overlay, underlay = lab.hub.address(), lab.hub.address("underlay")
    nics, own = {("spoke1", "ens3"), ("hub", "ens3")}, {("spoke1", spoke.plan.device), ("hub", lab.hub.plan.device)}
    assert kept(overlay, port=OWN) >= nics | own
    assert kept(overlay, port=OTHERS, source_port=OWN) >= nics | own
    assert kept(underlay, port=OWN) >= nics
    assert kept(overlay, port=OTHERS, size=20000) >= nics
    assert kept(underlay, port=OTHERS, size=20000) >= nics
    assert kept(underlay, port=OTHERS) == set()
    # behind a key or a checksum the frame begins elsewhere: it is kept
    assert kept(overlay, port=OTHERS) == (nics if key and lab.topology.options.kind == "gretap" else set())
    spoke.ping(overlay).exactly_once_by(["hub"])
    assert [one for one in lab.frames() if one.node == "hub" and one.carrier]

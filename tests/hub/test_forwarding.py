"""
The hub's bridge forwards between spokes: once to every other node, never back to the sender, and without routing.

    spoke1 --tunnel1--( hub: bridge0 )--tunnel2-- spoke2        no tunnel between spoke1 and spoke2
"""

import pytest

from fixtures.built_labs.labs import inject
from fixtures.probes import carried
from lab import groups
from lab.stack.changes import bridge_port

GROUP = groups.fresh()  # which groups a host routes where is MCAST-08's business, not this module's
FORWARDING = "net.ipv4.ip_forward"
MANY = 20


def from_spoke_to_spoke(overlay, seen):
    """The tunnel packets that go from one spoke directly to another."""
    spokes = {spoke.plan.endpoint for spoke in overlay.spokes}
    return [one.sighting for one in seen if {one.source, one.destination} <= spokes]


def passed(seen, host, device):
    """How often a payload arrived at one of a host's devices, and how often it left there."""
    directions = [one.outgoing for one in seen if (one.node, one.interface) == (host.name, device)]
    return directions.count(False), directions.count(True)


@pytest.mark.requirement("HUB-01")
@pytest.mark.parametrize("kind", ["unicast", "broadcast", "multicast"])
def test_spokes_meet_at_the_hub_only(overlay, spoke1, spoke2, everyone, listen, kind):
    """Spoke-to-spoke traffic passes the hub's bridge: no outer packet goes from spoke to spoke."""
    to = {"unicast": spoke2.address(), "broadcast": everyone, "multicast": GROUP}[kind]

    with listen([spoke2], group=GROUP if kind == "multicast" else None) as heard:
        spoke1.udp.send(to=to)

    heard.exactly_once(at=[spoke2.name])
    seen = heard.sightings()
    assert passed(seen, overlay.hub, overlay.topology.port("hub", spoke1.name)) == (1, 0)
    assert from_spoke_to_spoke(overlay, carried(seen)) == []


@pytest.mark.requirement("HUB-01")
@pytest.mark.disruptive
@pytest.mark.parametrize("forwarding", [0, 1], ids="ip_forward={}".format)
def test_needs_no_ip_forwarding(mutable_lab, spoke1, spoke2, forwarding):
    """Spokes reach each other whether or not the hub forwards IP."""
    with mutable_lab.hub.node.with_sysctl(FORWARDING, forwarding), mutable_lab.listen([spoke2]) as heard:
        spoke1.udp.send(to=spoke2.address())
        spoke1.udp.send(to=mutable_lab.everyone)

    heard.exactly_once(at=[spoke2.name])


@pytest.mark.requirement("HUB-04")
@pytest.mark.parametrize("kind", ["broadcast", "multicast"])
def test_no_host_receives_a_duplicate(overlay, sender, everyone, listen, tag, kind):
    """Of a burst of numbered datagrams every other node receives each one once, in the order they were sent."""
    others = overlay.others(sender)
    numbered = [b"%s %03d" % (tag, number) for number in range(MANY)]

    with listen(others, group=GROUP if kind == "multicast" else None) as heard:
        sender.udp.send(numbered, to=everyone if kind == "broadcast" else GROUP)

    heard.exactly_once(at=others)
    assert list(heard.payloads.values()) == [numbered] * len(others)


@pytest.mark.requirement("HUB-04")
@pytest.mark.disruptive
@pytest.mark.usefixtures("without_stp")
class TestSecondTunnel:
    """A spoke that is attached twice: a leftover or "redundant" tunnel, bridged at the hub in addition to the first."""

    def test_doubles_broadcast(self, build_lab):
        """Broadcast reaches a spoke with two tunnels to the hub twice, and the other spokes once."""
        lab = build_lab()
        inject(lab, "second-tunnel")
        twice = lab.spokes[-1].name

        with lab.listen(lab.others("hub")) as heard:
            lab.hub.udp.send(to=lab.everyone)

        assert {name: len(payloads) for name, payloads in heard.payloads.items()} == {
            name: 2 if name == twice else 1 for name in heard.at
        }

    def test_leaves_multicast_single(self, build_lab):
        """Multicast reaches a spoke with two tunnels to the hub once: its membership is on one device."""
        lab = build_lab()
        inject(lab, "second-tunnel")

        with lab.listen(lab.others("hub"), group=GROUP) as heard:
            lab.hub.udp.send(to=GROUP)

        heard.exactly_once(at=heard.at)

    def test_is_hidden_by_strict_reverse_path_filtering(self, build_lab):
        """With rp_filter=1 a spoke with two tunnels drops the second copy of a broadcast, and counts it."""
        lab = build_lab()
        inject(lab, "second-tunnel")
        spoke = lab.spokes[-1]
        spoke.node.write_sysctls({"net.ipv4.conf.all.rp_filter": 1})
        before = spoke.node.counters()["TcpExtIPReversePathFilter"]

        with lab.listen(lab.others("hub")) as heard:
            lab.hub.udp.send(to=lab.everyone)

        heard.exactly_once(at=heard.at)
        assert spoke.node.counters()["TcpExtIPReversePathFilter"] > before

    def test_makes_a_ping_answer_twice(self, build_lab):
        """A spoke with two tunnels to the hub answers one broadcast ping twice."""
        lab = build_lab()
        inject(lab, "second-tunnel")

        answers = lab.hub.ping(lab.everyone)

        answering = ["hub", *lab.others("hub")]
        assert answers.counts == {name: 2 if name == lab.spokes[-1].name else 1 for name in answering}


@pytest.mark.requirement("HUB-05")
@pytest.mark.parametrize("kind", ["broadcast", "multicast"])
def test_no_frame_goes_back_where_it_came_from(overlay, spoke1, everyone, listen, kind):
    """A spoke's frame arrives at its port once, leaves by every other port once, and never by its own."""
    others = overlay.others(spoke1)

    with listen(others, group=GROUP if kind == "multicast" else None) as heard:
        spoke1.udp.send(to=everyone if kind == "broadcast" else GROUP)

    heard.exactly_once(at=others)
    seen = heard.sightings()
    ports = {
        spoke.name: passed(seen, overlay.hub, overlay.topology.port("hub", spoke.name)) for spoke in overlay.spokes
    }
    assert ports == {spoke.name: (1, 0) if spoke.name == spoke1.name else (0, 1) for spoke in overlay.spokes}
    assert passed(seen, spoke1, spoke1.plan.device) == (0, 1)


@pytest.mark.requirement("HUB-05")
@pytest.mark.disruptive
def test_hairpin_returns_frames_that_no_socket_shows(mutable_lab, spoke1):
    """With hairpin on, the frame returns to its sender's NIC, while every socket still receives one copy."""
    port = mutable_lab.topology.port("hub", spoke1.name)
    on, off = (bridge_port(port, hairpin=value) for value in (1, 0))

    with mutable_lab.hub.node.changed(on, off), mutable_lab.listen(mutable_lab.hosts) as heard:
        spoke1.udp.send(to=mutable_lab.everyone)

    heard.exactly_once(at=heard.at)
    seen = heard.sightings()
    assert passed(seen, mutable_lab.hub, port) == (1, 1)
    out = [hop for hop in mutable_lab.topology.flooded(spoke1.name) if hop.start.host == spoke1.name]
    back = mutable_lab.topology.returning(spoke1.name)
    assert passed(seen, spoke1, spoke1.plan.nic) == (1 + len(back), len(out))

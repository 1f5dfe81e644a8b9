"""
Each spoke has a working tunnel to each of two hubs: one that is dead shows only when the other one is needed.

    bond   spoke1 --gretap1--> hub             gretap2 is idle: receives what its hub floods
    PRP    spoke1 ==gretap1==> hub,  ==gretap2==> hub2: every frame twice on the wire, delivered once
"""

import pytest

from fixtures.areas.redundancy import LEAST_TIMERS, arp_probes
from fixtures.areas.underlay import configured
from fixtures.probes import await_frames
from fixtures.requirements import not_applicable
from lab.stack.changes import link_set

pytestmark = pytest.mark.requirement("RED-01")

PROBES = {"bond": [(12, b"\x08\x06")], "bridge": [(0, b"\x01\x80\xc2\x00\x00\x00")]}
"""What an idle tunnel always receives: other bonds' ARP, a hub's BPDUs."""
TIMERS = ("max_age", "forward_delay")
ANYTHING = b""
LONGEST = 3.0  # seconds; a bond probes once a second


def test_each_tunnel_leads_to_another_hub(two_hubs, spoke):
    """A spoke's tunnels lead to all the hubs, each to another one, and all of them are up."""
    seen = configured(two_hubs)[spoke.name]
    devices = [seen.device(port) for port in two_hubs.topology.ports(spoke.name)]

    assert [device.up for device in devices] == [True] * len(two_hubs.hubs)
    remotes = sorted(remote for device in devices for remote in seen.remotes(device.name))
    assert remotes == sorted(hub.plan.endpoint for hub in two_hubs.hubs)


def test_both_tunnels_carry(two_hubs, spoke, everyone, listen):
    """With PRP a broadcast arrives at both hubs; otherwise the idle tunnel receives what its hub sends to all."""
    others = two_hubs.others(spoke)

    with listen(others) as heard:
        spoke.udp.send(to=everyone)

    heard.exactly_once(at=others)
    if two_hubs.topology.doubled:
        at_hubs = {(seen.node, seen.interface) for seen in heard.sightings() if not seen.outgoing}
        assert {(hub.name, two_hubs.topology.port(hub.name, spoke.name)) for hub in two_hubs.hubs} <= at_hubs
    for port in two_hubs.topology.idle_ports(spoke.name):
        assert await_frames(spoke, port, PROBES[spoke.plan.holder], tag=ANYTHING, count=1, timeout=LONGEST)


def test_a_bond_probes_every_hub(two_hubs, spoke):
    """A bond sends ARP probes to the overlay addresses of all hubs: a tunnel has a carrier also without its hub."""
    if spoke.plan.holder != "bond":
        not_applicable("requires a bond: a PRP device sends by both tunnels, and a bridge with STP listens to BPDUs")

    interval, targets = arp_probes(spoke)

    assert interval > 0
    assert sorted(targets) == sorted(hub.address() for hub in two_hubs.hubs)


@pytest.mark.requirement("RED-07")
def test_spanning_tree_has_its_least_timers(two_hubs):
    """Where STP decides which tunnel is used, its root has the shortest max_age and forward_delay."""
    if not any(map(two_hubs.topology.spans, two_hubs.topology.nodes)):
        not_applicable("requires bridges with STP")

    timers = two_hubs.hub.node.link(two_hubs.topology.bridge).details

    assert {name: timers[name] for name in TIMERS} == {name: LEAST_TIMERS[name] for name in TIMERS}


@pytest.mark.disruptive
def test_one_tunnel_down_shows_nowhere_else(two_hubs, mutable_lab, spoke1, everyone):
    """With its second tunnel down a spoke's broadcast still reaches all the others once."""
    (second,) = mutable_lab.topology.ports(spoke1.name)[1:]
    down, up = (link_set(second, up=state) for state in (False, True))

    with spoke1.node.changed(down, up), mutable_lab.listen(mutable_lab.spokes[1:]) as heard:
        spoke1.udp.send(to=everyone)

    heard.exactly_once(at=heard.at)

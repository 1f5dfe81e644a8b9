"""
The hub is back: with its configuration delivery resumes by itself; without it the hub rejects tunnel packets.

    spoke1 ==tunnel==> hub (stopped, back) ==tunnel==> spoke2: the sockets that were open hear again
"""

import pytest

from fixtures.areas.resilience import clock, quick_neighbours
from fixtures.areas.underlay import refusals
from lab import groups

pytestmark = [pytest.mark.requirement("FAULT-02"), pytest.mark.disruptive]

GROUP = groups.fresh()  # which groups a host routes where is MCAST-08's business, not this module's
PORT_UNREACHABLE = (3, 3)
PATIENCE = 5.0  # seconds; the hub resolves its neighbours again, at most once a second
AT_ONCE = 0.05  # seconds of grace: what a NIC without carrier dropped does not come later


@pytest.mark.usefixtures("only_hub")
@pytest.mark.parametrize("kind", ["broadcast", "multicast"])
def test_delivery_resumes_by_itself(mutable_lab, spoke1, record_figure, kind):
    """After the hub's return sockets that were open before receive again; the spokes' configuration is unchanged."""
    others = mutable_lab.others(spoke1)
    to, group = (mutable_lab.everyone, None) if kind == "broadcast" else (GROUP, GROUP)

    with quick_neighbours(mutable_lab.hosts.values()), mutable_lab.listen(others, group=group, grace=PATIENCE) as heard:
        with mutable_lab.cloud.stopped("hub", mutable_lab.hub.node):
            before = spoke1.udp.send(to=to)
        back = clock(mutable_lab)
        sent = spoke1.udp.send(to=to)

    # the first one is lost, or waits at its sender for the hub's MAC and arrives as well (neighbour queue, arp(7))
    later = {name: [one for one in heard.datagrams[name] if one.payload != before.payload] for name in others}
    assert {name: [one.payload for one in found] for name, found in later.items()} == {
        name: [sent.payload] for name in others
    }
    for name in others:
        record_figure(f"{kind} to {name} after the hub's return", (later[name][0].time - back) / 1e6)


def test_memberships_outlive_a_recreated_bridge(build_lab):
    """With the hub's bridge and tunnels deleted and created again, the spokes' sockets still receive their group."""
    lab = build_lab()
    first, *rest = lab.spokes
    names = [spoke.name for spoke in rest]

    with lab.listen(names, group=GROUP) as heard:
        lab.take_down(lab.hub)
        lab.set_up(lab.hub)
        first.udp.send(to=GROUP)

    heard.exactly_once(at=names)


@pytest.mark.usefixtures("one_way")
@pytest.mark.tunnel("gretap")
def test_a_hub_without_its_tunnels_refuses(build_lab):
    """A hub that is back without its configuration delivers nothing and answers GRE with ICMP 3/3."""
    lab = build_lab()
    lab.take_down(lab.hub)
    spoke, others = lab.spokes[0], lab.others(lab.spokes[0])

    with lab.listen(others, grace=AT_ONCE) as heard:
        spoke.udp.send(to=lab.everyone)

    heard.nothing(at=others)
    assert ("hub", *PORT_UNREACHABLE) in refusals(lab, spoke)

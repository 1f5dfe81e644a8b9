"""
Snooping without a querier, the default of Linux bridges: the hub lists members, but still floods to all ports.

    spoke1 -- 239.195.0.1 -->( hub: bridge0, MDB: 239.195.0.1 at tunnel2 )--> spoke2, spoke3, ... members or not
"""

import pytest

from fixtures.areas.snooping import await_listed, came_in
from fixtures.areas.underlay import port_flags
from fixtures.requirements import not_applicable
from lab.stack.changes import bridge_port

LARGE_TTL = 64


@pytest.fixture
def default_bridge(overlay, parameters):
    """The lab, if its bridge snoops and is no querier."""
    of_bridge = parameters(overlay)
    found = {name: of_bridge[name] for name in ("mcast_snooping", "mcast_querier")}
    if found != {"mcast_snooping": 1, "mcast_querier": 0}:
        not_applicable(f"it is about a bridge that snoops and is no querier; {overlay.topology.bridge} has {found}")
    return overlay


@pytest.mark.requirement("SNOOP-01")
def test_all_nodes_receive_a_group_with_one_member(default_bridge, sender, fresh_group):
    """A group with one member is received there, and its frames arrive at every other node as well."""
    others = default_bridge.others(sender)
    member = others[-1]

    with default_bridge.listen([member], group=fresh_group) as heard:
        await_listed(default_bridge, fresh_group, [member])
        sender.udp.send(to=fresh_group, multicast_interface=sender.address())
        reached = came_in(default_bridge, sender, fresh_group)

    heard.exactly_once(at=[member])
    assert reached == set(others)


@pytest.mark.requirement("SNOOP-01")
def test_all_nodes_receive_a_group_without_members(default_bridge, sender, fresh_group):
    """The frames of a group without members arrive at every other node."""
    assert came_in(default_bridge, sender, fresh_group) == set(default_bridge.others(sender))


@pytest.mark.requirement("SNOOP-06")
def test_no_port_withholds_multicast(default_bridge):
    """While no querier fills the hub's list, each of its ports floods multicast."""
    ports = port_flags(default_bridge)

    assert [name for name, port in ports.items() if not port.flags.get("mcast_flood", 1)] == []


@pytest.mark.requirement("SNOOP-06")
@pytest.mark.disruptive
@pytest.mark.usefixtures("one_way")
def test_a_port_that_does_not_flood_is_deaf_though_listed(mutable_lab, spoke1, spoke2, fresh_group):
    """With mcast_flood off and no querier a listed member receives a spoke's broadcast, but not its multicast."""
    sender, member = spoke1, spoke2
    port = {"device": mutable_lab.topology.port("hub", member.name)}
    on, off = (bridge_port(**port, mcast_flood=flag) for flag in (1, 0))

    with mutable_lab.hub.node.changed(off, on):
        with mutable_lab.listen([member], group=fresh_group) as heard:
            await_listed(mutable_lab, fresh_group, [member.name])
            sender.udp.send(to=fresh_group, ttl=LARGE_TTL, multicast_interface=sender.address())
        with mutable_lab.listen([member]) as broadcast:
            sender.udp.send(to=mutable_lab.everyone)

    heard.nothing(at=[member.name])
    broadcast.exactly_once(at=[member.name])

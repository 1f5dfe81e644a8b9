"""
An overlay of any shape is described by its hosts and tunnels: the paths that packets take, and who forwards.

    pair, star, bridged spokes, mesh of tunnels, flood lists, two hubs (bond, PRP), native multicast
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pytest

from lab.errors import NotApplicable
from lab.model import Holder, Topology
from lab.topology import topologies
from lab.topology.graph import End, Tunnel

SPOKES = ("spoke1", "spoke2", "spoke3")
HUBS = ("hub", "hub2")


@dataclass(frozen=True)
class Shape:
    """A shape of overlay, and what is known of it: of each (sender, receiver) the hosts of every path."""

    tunnels: tuple[tuple[str, str], ...]
    holders: dict[str, Holder]
    paths: dict[tuple[str, str], set[tuple[str, ...]]]
    forwarders: set[str] = field(default_factory=set)
    centre: str = ""
    isolated: bool = False


def every(hosts: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """A tunnel between any two hosts."""
    return tuple(itertools.combinations(hosts, 2))


def to(hub: str) -> tuple[tuple[str, str], ...]:
    """A tunnel from a hub to each spoke."""
    return tuple((hub, spoke) for spoke in SPOKES)


def holders(spokes: Holder) -> dict[str, Holder]:
    """Hubs have bridges, spokes another device."""
    return {**dict.fromkeys(HUBS, "bridge"), **dict.fromkeys(SPOKES, spokes)}


STAR = {
    ("spoke1", "spoke2"): {("spoke1", "hub", "spoke2")},
    ("spoke1", "hub"): {("spoke1", "hub")},
    ("hub", "spoke3"): {("hub", "spoke3")},
}
DIRECT = {pair: {pair} for pair in every(SPOKES)}
BY_EITHER_HUB = {("spoke1", "hub", "spoke2"), ("spoke1", "hub2", "spoke2")}

SHAPES = {
    "pair": Shape(
        (("spoke1", "spoke2"),),
        {},
        {("spoke1", "spoke2"): {("spoke1", "spoke2")}, ("spoke2", "spoke1"): {("spoke2", "spoke1")}},
        centre="spoke1",
    ),
    "star": Shape(to("hub"), holders("tunnel"), STAR, {"hub"}, "hub"),
    "bridged": Shape(to("hub"), holders("bridge"), STAR, {"hub"}, "hub"),
    "mesh": Shape(every(SPOKES), holders("bridge"), DIRECT, isolated=True),
    "flood list": Shape(every(SPOKES), holders("mesh"), DIRECT),
    "two hubs, bond": Shape(
        (*to("hub"), *to("hub2"), HUBS),
        holders("bond"),
        {
            ("spoke1", "spoke2"): BY_EITHER_HUB
            | {("spoke1", "hub", "hub2", "spoke2"), ("spoke1", "hub2", "hub", "spoke2")},
            HUBS: {HUBS},
        },
        set(HUBS),
    ),
    "two hubs, PRP": Shape(
        (*to("hub"), *to("hub2")),
        holders("prp"),
        {("spoke1", "spoke2"): BY_EITHER_HUB, ("spoke1", "hub2"): {("spoke1", "hub2")}, HUBS: set()},
        set(HUBS),
    ),
    "native": Shape((), holders("nic"), {("spoke1", "spoke2"): {("spoke1",)}}),
}


def topology_of(shape: Shape) -> Topology:
    """The topology: every tunnel has a device of its own, but on hosts that have one VXLAN device."""
    base = {node.name: node for node in topologies.star(3).nodes}
    names = dict.fromkeys(itertools.chain(*shape.tunnels, *shape.paths))
    nodes, tunnels = [], []
    for name in sorted(names):
        like = base["hub" if name in HUBS else name]
        holder = shape.holders.get(name, "tunnel")
        nodes.append(
            type(like)(name, like.role, like.underlay, like.overlay, "ov", holder=holder, isolated=shape.isolated)
        )
    for number, pair in enumerate(shape.tunnels):
        one, other = (End(host, "ov" if shape.holders.get(host) == "mesh" else f"t{number}") for host in pair)
        tunnels.append(Tunnel((one, other), number))
    return Topology("shape", tuple(nodes), tuple(tunnels))


shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


@shapes
def test_paths_are_all_those_that_packets_may_take(shape):
    """Between any two hosts there are the known paths, in both directions, without a loop."""
    topology = topology_of(shape)

    for (sender, receiver), known in shape.paths.items():
        there = {(sender, *(hop.end.host for hop in path)) for path in topology.paths(sender, receiver)}
        back = {(receiver, *(hop.end.host for hop in path)) for path in topology.paths(receiver, sender)}

        assert there == known
        assert topology.tunnels == () or back == {tuple(reversed(path)) for path in known}


@shapes
def test_the_shape_names_the_forwarding_hosts(shape):
    """The forwarders and the centre are the known ones."""
    topology = topology_of(shape)

    assert topology.forwarders == shape.forwarders
    assert topology.centre == shape.centre


def test_one_vxlan_device_has_a_tunnel_to_each_peer():
    """A VXLAN device with a list of peers is the only device of its host."""
    topology = topology_of(SHAPES["flood list"])

    assert topology.devices("spoke1") == ["ov"]
    assert topology.peers("spoke1") == ["spoke2", "spoke3"]


def test_a_shape_without_a_hub_has_no_hub():
    """What needs a hub does not apply to a pair."""
    with pytest.raises(NotApplicable, match="requires a hub"):
        _ = topology_of(SHAPES["pair"]).hub


def test_the_default_topology_is_a_star():
    """Its hub forwards, and every tunnel ends there; a spoke's device is its tunnel."""
    topology = topologies.star(3)

    assert (topology.forwarders, topology.centre) == ({"hub"}, "hub")
    assert topology.devices("hub") == ["bridge0", "gretap1", "gretap2", "gretap3"]
    assert topology.devices("spoke2") == ["gretap2"] == [topology.port("spoke2", "hub")]

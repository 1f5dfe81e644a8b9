"""The model, the topologies and the plans made from them: data in, data out, no kernel needed."""

import dataclasses

import pytest

from lab.clouds.providers import provider
from lab.errors import UsageProblem
from lab.model import TunnelOptions, Underlay
from lab.overlay import plan
from lab.topology import designs, topologies
from lab.tunnels import KINDS, gretap
from lab.underlay import fabric


def test_the_star_has_the_articles_addresses():
    """Hub and spokes are where the article has them."""
    topology = topologies.star()

    assert [(node.name, node.address("underlay"), node.address()) for node in topology.nodes] == [
        ("hub", "10.0.0.197", "172.16.254.1"),
        ("spoke1", "10.0.0.25", "172.16.254.2"),
        ("spoke2", "10.0.0.131", "172.16.254.3"),
    ]


@pytest.mark.parametrize("spokes", [1, 2, 3, 250])
def test_no_address_is_used_twice(spokes):
    """Every node has an underlay and an overlay address, for any number of spokes."""
    nodes = topologies.star(spokes).nodes

    assert len({node.underlay.ip for node in nodes} | {node.overlay.ip for node in nodes}) == 2 * (spokes + 1)


@pytest.mark.parametrize("spokes", [0, -1, 251])
def test_an_impossible_number_of_spokes_is_a_usage_problem(spokes):
    """More spokes than a /24 holds, or none, are rejected with the possible range."""
    with pytest.raises(UsageProblem, match="expected 1 to 250"):
        topologies.star(spokes)


@pytest.mark.parametrize(
    ("ask", "known"),
    [
        (lambda: designs.topology("ring", 2, TunnelOptions(), 9000), "star, bridged, article, standby, pair, mesh"),
        (lambda: designs.topology("pair", 5, TunnelOptions(), 9000), "--spokes=5: expected 2 for --topology=pair"),
        (lambda: designs.topology("flood-list", 2, TunnelOptions(), 9000), "the flood-list design supports only vxlan"),
        (lambda: provider("digitalocean"), "oci, aws, gcp, azure"),
        (lambda: topologies.star(options=TunnelOptions(kind="ipip")), "gretap, vxlan"),
    ],
    ids=["topology", "spokes of a pair", "tunnel of a flood list", "provider", "tunnel"],
)
def test_an_unknown_name_is_answered_with_the_known_ones(ask, known):
    """A name that does not exist is one line that lists those that do."""
    with pytest.raises(UsageProblem, match=known):
        ask()


def test_an_older_name_is_still_understood():
    """A star may be called by its first name, `standard`."""
    assert designs.topology("standard", 3, TunnelOptions(), 9000) == topologies.star(3)


def test_the_article_differs_in_what_it_leaves_out_only():
    """The article's literal topology routes a /8, inherits the TTL, pins neither source nor the bridge's MAC."""
    article, standard = topologies.article(), topologies.star()

    assert str(article.multicast_route) == "224.0.0.0/8"
    assert (article.options.ttl, article.options.local) == (None, False)
    assert not article.pinned_mac
    corrected = dataclasses.replace(article, multicast_route=standard.multicast_route, options=standard.options)
    assert dataclasses.replace(corrected, name=standard.name, pinned_mac=True) == standard


@pytest.mark.parametrize(
    ("options", "octets"),
    [
        (TunnelOptions(), 38),
        (TunnelOptions(key=42), 42),
        (TunnelOptions(key=42, checksum=True, sequence=True), 50),
    ],
    ids=["plain", "keyed", "keyed, checksum, sequence"],
)
def test_gre_overhead_grows_by_four_octets_per_option(options, octets):
    """RFC 2890: key, checksum and sequence number are four octets each on the 38 of gretap."""
    assert gretap.GRETAP.overhead(options) == octets


@pytest.mark.parametrize("kind", ["vxlan", "geneve"])
def test_overhead_of_udp_tunnels_is_fifty_octets(kind):
    """RFC 7348, RFC 8926: outer IPv4, UDP, VXLAN or Geneve without options, and the inner Ethernet header."""
    assert KINDS[kind].overhead(TunnelOptions(kind=kind)) == 50


def test_a_port_that_was_not_chosen_follows_the_kind():
    """A tunnel has its kind's own UDP port, also when the kind changes; one that was chosen stays."""
    geneve = TunnelOptions(kind="geneve")

    assert (geneve.port, geneve.local) == (6081, False)
    assert dataclasses.replace(geneve, kind="vxlan").port == 4789
    assert dataclasses.replace(geneve, kind="vxlan", port=8472).port == 8472


def test_every_hub_tunnel_is_a_port_and_every_spoke_has_one():
    """The hub's plan enslaves one tunnel per spoke; a spoke's plan has one tunnel and no bridge."""
    topology = topologies.star(spokes=3)

    hub = [fields for verb, fields in plan.changes(topology, topology.hub) if verb == "link_add"]
    spoke = [fields for verb, fields in plan.changes(topology, topology.spokes[0]) if verb == "link_add"]

    assert [fields.get("master") for fields in hub] == [None, "bridge0", "bridge0", "bridge0"]
    assert [fields["kind"] for fields in spoke] == ["gretap"]


def test_a_routed_underlay_puts_spokes_in_another_subnet():
    """With routers between them, hub and spokes share no subnet, and each segment has a gateway."""
    topology = topologies.routed(topologies.star())
    parts = fabric.segments(topology, Underlay(provider("oci"), routers=2))

    assert [[port.node for port in part.ports] for part in parts] == [["hub", "r1"], ["spoke1", "spoke2", "r2"]]
    assert topology.hub.underlay.network != topology.spokes[0].underlay.network

"""
Reading an overlay back: what was built is found again, and what is half-configured is named with what mends it.

    hub: bridge0 <- tunnel1, tunnel2        spoke1: tunnel1        spoke2: tunnel2
"""

import dataclasses

import pytest

from lab.overlay import readback
from lab.overlay.understanding import understand


def found(lab):
    """What is understood from the hosts of a lab."""
    return understand(readback.read([lab.nodes[name] for name in lab.plans]))


def codes(lab):
    """Code, node and interface of every finding."""
    return [(finding.code, finding.node, finding.interface) for finding in found(lab).findings]


@pytest.mark.parametrize("spokes", [1, 2, 5])
def test_what_was_built_is_found_again(make_lab, spokes):
    """The topology read from the hosts is the one that they were built from, without findings."""
    lab = make_lab(spokes=spokes)

    understood = found(lab)

    assert understood.findings == ()
    assert understood.topology == dataclasses.replace(lab.topology, name="found")


def test_a_routed_underlay_is_found_too(make_lab):
    """Hub and spokes in different subnets make no difference to the pairing."""
    lab = make_lab(routers=1)

    assert found(lab).topology == dataclasses.replace(lab.topology, name="found")


def test_a_tunnel_beside_the_bridge_is_named(lab):
    """The hub's tunnel that is no port of the bridge is found on the hub, with the command that mends it."""
    port = lab.topology.tunnel_of("spoke2").hub_device
    lab.hub.node.apply(("link_set", {"device": port, "nomaster": True}))

    assert codes(lab) == [("port-not-bridged", "hub", port)]
    assert found(lab).findings[0].remedy == f"ip link set {port} master bridge0"


def test_a_missing_tunnel_is_named_on_its_side(lab):
    """A spoke without its tunnel is named; the other one is still understood."""
    device = lab.plans["spoke1"].device
    lab["spoke1"].node.apply(("link_del", {"device": device}))

    understood = found(lab)

    assert codes(lab) == [("tunnel-missing", "spoke1", "")]
    assert understood.topology is not None
    assert [node.name for node in understood.topology.nodes] == ["hub", "spoke2"]


def test_another_prefix_is_named(lab):
    """A spoke with a /16 on the overlay is told which prefix the hub has."""
    plan = lab.plans["spoke2"]
    lab["spoke2"].node.apply(
        ("addr_del", {"device": plan.device, "address": str(plan.overlay)}),
        ("addr_add", {"device": plan.device, "address": f"{plan.overlay.ip}/16"}),
    )

    assert codes(lab) == [("prefix-mismatch", "spoke2", plan.device)]


def test_hosts_without_an_overlay_are_told_so(make_lab):
    """Hosts as a cloud hands them out have no overlay: that is one finding, not a crash."""
    lab = make_lab(overlay=False)

    assert codes(lab) == [("tunnel-missing", "hub", "")]
    assert found(lab).topology is None

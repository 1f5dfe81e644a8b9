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


VXLAN_OPTIONS = {
    "ttl auto": ("4789", {"ttl": 64}),
    "ttl inherit": ("4789 ttl inherit", {"ttl": None}),
    "ttl 7": ("4789 ttl 7", {"ttl": 7}),
    "tos 0x10": ("4789 ttl 64 tos 0x10", {"tos": 0x10, "tos_inherit": False}),
    "tos 0x11": ("4789 ttl 64 tos 0x11", {"tos": 0x11, "tos_inherit": False}),
    "tos inherit": ("4789 ttl 64 tos inherit", {"tos": 0, "tos_inherit": True}),
    "dstport 8472": ("8472 ttl 64", {"port": 8472}),
}
GRETAP_OPTIONS = {
    "ttl 0": ("ttl 0", {"ttl": None}),
    "ttl inherit": ("ttl inherit", {"ttl": None}),
    "ttl 7": ("ttl 7", {"ttl": 7}),
    "tos 0x10": ("tos 0x10", {"tos": 0x10, "tos_inherit": False}),
    "tos 0x11": ("tos 0x11", {"tos": 0x10, "tos_inherit": True}),
}
KINDS = {
    "vxlan": ("id 77 remote 192.0.2.1 dstport", VXLAN_OPTIONS),
    "gretap": ("remote 192.0.2.1", GRETAP_OPTIONS),
}


@pytest.mark.parametrize("kind", KINDS)
def test_options_mean_what_they_mean_to_the_kernel(make_lab, kind):
    """Every way to give a tunnel a TTL, a TOS or a port is read as what the kernel makes of it."""
    node = make_lab(overlay=False)["spoke1"].node
    needed, options = KINDS[kind]
    found = {}

    for name, (words, _) in options.items():
        made = node.run("sh", "-c", f"ip link add one type {kind} {needed} {words}")
        if "nknown device type" in made["errors"]:
            pytest.skip(f"this kernel has no {kind}: sudo modprobe {kind}")
        assert made["status"] == 0, (name, made)
        end = readback.read([node])["spoke1"].devices["one"].tunnel
        found[name] = {field: getattr(end, field) for field in options[name][1]}
        node.apply(("link_del", {"device": "one"}))

    assert found == {name: expected for name, (_, expected) in options.items()}


def test_the_default_ttl_is_the_hosts(make_lab):
    """A VXLAN tunnel without a TTL of its own has the host's default, whatever that is."""
    node = make_lab(overlay=False)["spoke1"].node
    made = node.run("ip", "link", "add", "one", "type", "vxlan", "id", "77", "dstport", "4789", "remote", "192.0.2.1")
    if made["status"]:
        pytest.skip("this kernel has no vxlan: sudo modprobe vxlan")

    with node.with_sysctl("net.ipv4.ip_default_ttl", 99):
        assert readback.read([node])["spoke1"].devices["one"].tunnel.ttl == 99

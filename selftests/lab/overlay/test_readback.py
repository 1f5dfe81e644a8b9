"""
Reading an overlay back: it matches what was built, and each part that is missing is named with its fix.

    hub: bridge0 <- tunnel1, tunnel2        spoke1: tunnel1        spoke2: tunnel2
"""

import dataclasses

import pytest

from lab.overlay.recognition import readback, several_overlays
from lab.overlay.recognition.detection import understand
from lab.stack.changes import addr_add, addr_del, link_del, link_set, route_add


def found(lab):
    """What is understood from the hosts of a lab."""
    return understand(readback.read([lab.nodes[name] for name in lab.plans]), lab.topology.options)


def codes(lab):
    """Code, node and interface of every finding."""
    return [(finding.code, finding.node, finding.interface) for finding in found(lab).findings]


@pytest.mark.parametrize("spokes", [1, 2, 5])
def test_what_was_built_is_found_again(make_lab, spokes):
    """The topology read from the hosts is the one that they were built from, without findings."""
    lab = make_lab(spokes=spokes)

    understood = found(lab)

    assert understood.findings == ()
    assert understood.topology == lab.topology


def test_spokes_with_a_bridge_are_found_again(make_lab):
    """A spoke's address may be on a bridge whose port its tunnel is."""
    lab = make_lab(name="bridged")

    understood = found(lab)

    assert (understood.findings, understood.topology) == ((), dataclasses.replace(lab.topology, name="star"))


def test_a_routed_underlay_is_found_too(make_lab):
    """Hub and spokes in different subnets make no difference to the pairing."""
    lab = make_lab(routers=1)

    assert found(lab).topology == lab.topology


def test_a_tunnel_beside_the_bridge_is_named(lab):
    """The hub's tunnel that is not a port of the bridge is found on the hub, with its fix."""
    port = lab.topology.port("hub", "spoke2")
    lab.hub.node.apply(link_set(port, nomaster=True))

    assert codes(lab) == [("port-not-bridged", "hub", port)]
    assert found(lab).findings[0].remedy == f"ip link set {port} master bridge0"


def test_a_missing_tunnel_is_named_on_its_side(lab):
    """A spoke without its tunnel is named; the other one is still understood."""
    device = lab.plans["spoke1"].device
    lab["spoke1"].node.apply(link_del(device))

    understood = found(lab)

    assert codes(lab) == [("tunnel-missing", "spoke1", "")]
    assert understood.topology is not None
    assert [node.name for node in understood.topology.nodes] == ["hub", "spoke2"]


def test_each_host_that_lacks_something_has_its_own_finding(lab):
    """What is wrong with each spoke is known by the spoke, also where the finding is on the hub."""
    port, device = lab.topology.port("hub", "spoke1"), lab.plans["spoke2"].device
    lab.hub.node.apply(link_set(port, nomaster=True))
    lab["spoke2"].node.apply(link_del(device))

    assert found(lab).accused == {
        "spoke1": f"hub {port}, the tunnel to spoke1, is not a port of bridge0",
        "spoke2": "spoke2 has no tunnel to hub",
    }


def test_another_prefix_is_named(lab):
    """The finding on a spoke with a /16 on the overlay names the hub's prefix."""
    plan = lab.plans["spoke2"]
    lab["spoke2"].node.apply(
        addr_del(plan.device, str(plan.overlay)),
        addr_add(plan.device, f"{plan.overlay.ip}/16"),
    )

    assert codes(lab) == [("prefix-mismatch", "spoke2", plan.device)]


def test_hosts_without_an_overlay_get_one_by_the_printed_commands(make_lab):
    """Hosts as a cloud hands them out have no overlay: each has one finding, and its command makes its part of one."""
    lab = make_lab(overlay=False)

    assert codes(lab) == [("tunnel-missing", name, "") for name in lab.plans]
    assert found(lab).topology is None
    fix(lab)
    assert found(lab).findings == ()
    assert [node.name for node in found(lab).topology.nodes] == list(lab.plans)


def fix(lab):
    """Runs the command of each finding on the host it names."""
    for finding in found(lab).findings:
        done = lab.nodes[finding.node].run("sh", "-ec", finding.remedy)
        assert done["status"] == 0, (finding, done["errors"])


# host, what breaks it, and the finding; `{port}` is the hub's to spoke2, `{device}` spoke2's
UNFINISHED = {
    "port in no bridge": ("hub", "ip link set {port} nomaster", "port-not-bridged"),
    "hub without tunnels": ("hub", "for i in {kind}1 {kind}2; do ip link del $i; done", "tunnel-missing"),
    "hub without a bridge": ("hub", "ip link del bridge0", "port-not-bridged"),
    "hub without an address": ("hub", "ip addr flush dev bridge0", "hub-address-missing"),
    "the hub's address on a port": (
        "hub",
        "ip addr flush dev bridge0 && ip addr add 172.16.254.1/24 dev {port}",
        "hub-address-missing",
    ),
    "hub without one tunnel": ("hub", "ip link del {port}", "tunnel-missing"),
    "spoke without its tunnel": ("spoke2", "ip link del {device}", "tunnel-missing"),
    "spoke's tunnel to another spoke": (
        "spoke2",
        "ip link set {device} type {kind} remote 10.0.0.25 local 10.0.0.131 ttl 64",
        "tunnel-remote-mismatch",
    ),
    "spoke without an address": ("spoke2", "ip addr flush dev {device}", "overlay-address-missing"),
    "another prefix": (
        "spoke2",
        "ip addr del {address} dev {device} && ip addr add 172.16.254.3/16 dev {device}",
        "prefix-mismatch",
    ),
}


@pytest.mark.parametrize("case", UNFINISHED)
def test_the_printed_command_completes_it(lab, case):
    """A missing part is found, and its command makes the topology the planned one again, including the route."""
    host, command, code = UNFINISHED[case]
    port, device = lab.topology.port("hub", "spoke2"), lab.topology.port("spoke2", "hub")
    command = command.format(port=port, device=device, kind=lab.topology.options.kind, address=lab.plans[host].overlay)
    done = lab.nodes[host].run("sh", "-ec", command)
    assert done["status"] == 0, done["errors"]

    assert {finding.code for finding in found(lab).findings} == {code}
    fix(lab)

    understood = found(lab)
    assert understood.findings == ()
    assert understood.topology == lab.topology
    for node in understood.topology.nodes:
        seen = readback.read([lab.nodes[node.name]])[node.name]
        assert [route.dev for route in seen.routes if route.to == understood.topology.multicast_route] == [node.device]
    with lab.listen(["hub", "spoke1"]) as heard:
        lab["spoke2"].udp.send(to=lab.everyone)
    heard.exactly_once(at=["hub", "spoke1"])


@pytest.mark.parametrize("host", ["hub", "spoke1"])
def test_an_address_of_another_purpose_is_not_taken_for_the_overlays(lab, host):
    """A device whose first address is a virtual IP (/32) still has its overlay address."""
    plan = lab.plans[host]
    lab.nodes[host].apply(
        addr_del(plan.device, str(plan.overlay)),
        addr_add(plan.device, "192.0.2.9/32"),
        addr_add(plan.device, str(plan.overlay)),
    )

    assert found(lab).findings == ()
    assert found(lab).topology.node(host).overlay == plan.overlay


VXLAN_OPTIONS = {
    "ttl auto": ("4789", {"ttl": 64}),
    "ttl inherit": ("4789 ttl inherit", {"ttl": None}),
    "ttl 7": ("4789 ttl 7", {"ttl": 7}),
    "tos 0x10": ("4789 ttl 64 tos 0x10", {"tos": 0x10, "tos_inherit": False}),
    "tos 0x11": ("4789 ttl 64 tos 0x11", {"tos": 0x11, "tos_inherit": False}),
    "tos inherit": ("4789 ttl 64 tos inherit", {"tos": 0, "tos_inherit": True}),
    "dstport 8472": ("8472 ttl 64", {"port": 8472}),
    "df set": ("4789 ttl 64 df set", {"df": 1}),
    "df inherit": ("4789 ttl 64 df inherit", {"df": 2}),
}
GRETAP_OPTIONS = {
    "ttl 0": ("ttl 0", {"ttl": None}),
    "ttl inherit": ("ttl inherit", {"ttl": None}),
    "ttl 7": ("ttl 7", {"ttl": 7}),
    "tos 0x10": ("tos 0x10", {"tos": 0x10, "tos_inherit": False}),
    "tos 0x11": ("tos 0x11", {"tos": 0x10, "tos_inherit": True}),
}
GENEVE_OPTIONS = {
    "ttl auto": ("6081", {"ttl": 64, "port": 6081, "vni": 77, "remote": "192.0.2.1", "local": None}),
    "ttl inherit": ("6081 ttl inherit", {"ttl": None}),
    "ttl 7": ("6081 ttl 7", {"ttl": 7}),
    "tos 0x10": ("6081 ttl 64 tos 0x10", {"tos": 0x10, "tos_inherit": False}),
    "tos inherit": ("6081 ttl 64 tos inherit", {"tos": 0, "tos_inherit": True}),
    "dstport 6082": ("6082 ttl 64", {"port": 6082}),
    "df set": ("6081 ttl 64 df set", {"df": 1}),
    "df inherit": ("6081 ttl 64 df inherit", {"df": 2}),
}
KINDS = {
    "vxlan": ("id 77 remote 192.0.2.1 dstport", VXLAN_OPTIONS),
    "geneve": ("id 77 remote 192.0.2.1 dstport", GENEVE_OPTIONS),
    "gretap": ("remote 192.0.2.1", GRETAP_OPTIONS),
}


@pytest.mark.parametrize("kind", KINDS)
def test_options_mean_what_they_mean_to_the_kernel(make_lab, kind):
    """Every way to set a tunnel's TTL, TOS or port is read with the kernel's resulting value."""
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
        node.apply(link_del("one"))

    assert found == {name: expected for name, (_, expected) in options.items()}


def test_the_default_ttl_is_the_hosts(make_lab):
    """A VXLAN tunnel without an explicit TTL has the host's default, whatever that is."""
    node = make_lab(overlay=False)["spoke1"].node
    made = node.run("ip", "link", "add", "one", "type", "vxlan", "id", "77", "dstport", "4789", "remote", "192.0.2.1")
    if made["status"]:
        pytest.skip("this kernel has no vxlan: sudo modprobe vxlan")

    with node.with_sysctl("net.ipv4.ip_default_ttl", 99):
        assert readback.read([node])["spoke1"].devices["one"].tunnel.ttl == 99


def test_the_kernel_reports_the_device_by_which_a_packet_leaves(lab):
    """Routes, rules and route types are evaluated like in the kernel: no device where it would not send."""
    spoke = lab["spoke1"]
    spoke.node.apply(route_add("255.255.255.255/32", type="throw"))

    ways = {to: spoke.node.device_to(to) for to in (lab.everyone, lab.hub.address("underlay"), "255.255.255.255")}

    assert ways == {
        lab.everyone: spoke.plan.device,
        lab.hub.address("underlay"): spoke.plan.nic,
        "255.255.255.255": "",
    }
    assert spoke.node.device_to("198.51.100.1", device=spoke.plan.device) == spoke.plan.device


def test_a_chosen_overlay_is_not_missed_where_no_host_was_read() -> None:
    """Hosts that cannot be reached are the problem to report, not the overlay that --overlay names."""
    assert several_overlays.chosen({}, "br7") == {}

"""
Every node can make tunnels, and the kernel's rules for making them hold.

    ip link add gretap1 type gretap remote ... [local ...] [key ...]        one per (local, remote, key)

A kernel without the driver returns an error to the creator of the tunnel and an ICMP error to senders.
"""

import errno

import pytest

from fixtures.areas.underlay import configured, passing, refusals, shared
from fixtures.probes import layers
from lab.stack.changes import link_add, link_del, link_kind, link_set, route_add
from lab.tunnels.geneve import geneve
from lab.tunnels.gretap import gretap
from lab.tunnels.ip6gretap import ip6gretap
from lab.tunnels.vxlan import vxlan

PROTOCOL_UNREACHABLE, PORT_UNREACHABLE = (3, 2), (3, 3)  # ICMP type and code (RFC 792)
UNHANDLED = 253  # an IP protocol for experiments (RFC 3692): no kernel has a driver for it
ELSEWHERE = "192.0.2.1"  # TEST-NET-1 (RFC 5737)
ELSEWHERE6 = "2001:db8::1"  # RFC 3849
SPARE = {
    "gretap": gretap(remote=ELSEWHERE),
    "ip6gretap": ip6gretap(remote=ELSEWHERE6),
    "vxlan": vxlan(4242, remote=ELSEWHERE),
    "geneve": geneve(4242, remote=ELSEWHERE),
}


@pytest.mark.requirement("PRE-01", "PRE-11")
def test_every_host_has_its_tunnels(overlay):
    """Each host has the tunnel devices that it needs, of the chosen kind, up, under their names."""
    kind, seen = overlay.topology.options.kind, configured(overlay)
    needed = {(end.host, end.device) for tunnel in overlay.topology.tunnels for end in tunnel.ends}

    found = {
        (host, device.name)
        for host in overlay.hosts
        for device in seen[host].devices.values()
        if seen[host].remotes(device.name) and device.up and device.kind == kind
    }

    # hosts may have tunnels to hosts that are not among these, and of other overlays
    assert found & needed == needed


@pytest.mark.requirement("PRE-11")
def test_no_two_tunnels_have_the_same_ends(overlay):
    """On each host no two tunnels share remote, local and key, and none borrows a fallback device's name."""
    for name, seen in configured(overlay).items():
        tunnels = [device for device in seen.devices.values() if seen.remotes(device.name)]
        ends = {
            f"{name} {device.name} to {remote}": (remote, end.local, end.input_key, end.vni)
            for device in tunnels
            for remote in seen.remotes(device.name)
            if (end := device.tunnel)
        }

        assert len(ends) >= len(overlay.topology.peers(name))
        assert shared(ends) == {}
        assert not {device.name for device in tunnels} & {"gretap0", "gre0", "erspan0"}


@pytest.mark.disruptive
@pytest.mark.requirement("PRE-01")
def test_every_host_can_create_another_tunnel(mutable_lab):
    """The kernel of every host can create another tunnel device."""
    spare = SPARE[mutable_lab.topology.options.kind]

    for host in mutable_lab.hosts.values():
        with host.node.changed(link_add("spare", spare), link_del("spare")):
            assert host.node.link("spare").kind == spare["kind"]
        assert not host.node.has_link("spare")


@pytest.mark.disruptive
@pytest.mark.requirement("PRE-01")
def test_a_missing_driver_is_named(mutable_lab, hub):
    """The error for a kind of device without a driver names the command and the unknown kind."""
    with pytest.raises(
        OSError, match=r"`ip link add spare type nosuchtap` failed: .*[Uu]nknown device type"
    ) as refusal:
        hub.node.apply(link_add("spare", link_kind("nosuchtap")))

    assert refusal.value.errno == errno.EOPNOTSUPP


@pytest.mark.disruptive
@pytest.mark.requirement("PRE-01")
def test_a_host_without_the_driver_answers_protocol_unreachable(build_lab):
    """A packet of a protocol that the receiver's kernel has no driver for comes back as ICMP 3/2."""
    lab = build_lab(overlay=False)
    hub, spoke = lab.hub, lab.spokes[0]
    packet = layers.IP(src=spoke.address("underlay"), dst=hub.address("underlay"), proto=UNHANDLED) / b"anything"

    spoke.send_packet(bytes(packet), hub.address("underlay"))

    assert refusals(lab, spoke) == {("hub", *PROTOCOL_UNREACHABLE)}


@pytest.mark.disruptive
@pytest.mark.requirement("PRE-01")
@pytest.mark.tunnel("gretap")
def test_a_host_with_the_driver_and_no_tunnel_answers_port_unreachable(build_lab):
    """GRE to a host whose kernel has the driver, but no tunnel to the sender, comes back as ICMP 3/3."""
    lab = build_lab(overlay=False)

    assert passing(lab, lab.spokes[0], lab.hub) == {"gre"}
    assert refusals(lab, lab.spokes[0]) == {("hub", *PORT_UNREACHABLE)}


@pytest.mark.disruptive
@pytest.mark.requirement("PRE-11")
@pytest.mark.tunnel("gretap")
@pytest.mark.parametrize(
    ("device", "second", "accepted"),
    [
        pytest.param("gretap8", {}, False, id="the-same-remote"),
        pytest.param("gretap8", {"key": 7}, True, id="another-key"),
        pytest.param("gretap8", {"local": True}, True, id="a-local-address"),
        pytest.param("gretap0", {}, False, id="the-name-gretap0"),
        pytest.param("gretap8", {"remote": None}, False, id="no-remote"),
    ],
)
def test_one_tunnel_per_pair_of_addresses(standing, device, second, accepted):
    """A second tunnel is created when its key or local address differs; else it is rejected with "File exists"."""
    lab = standing(overlay=False)
    spoke, remote = lab.spokes[0], lab.hub.address("underlay")
    if second.get("local"):
        second = {"local": spoke.address("underlay")}
    wanted = link_add(device, gretap(**{"remote": remote, **second}))

    with spoke.node.changed(link_add("gretap7", gretap(remote=remote)), link_del("gretap7")):
        if accepted:
            with spoke.node.changed(wanted, link_del(device)):
                assert spoke.node.has_link(device)
        else:
            with pytest.raises(FileExistsError):
                spoke.node.apply(wanted)


@pytest.mark.disruptive
@pytest.mark.requirement("PRE-11")
def test_a_route_needs_its_device_up(build_lab):
    """A multicast route over a tunnel that is down is rejected: first set the device up, then add the routes."""
    lab = build_lab()
    spoke = lab.spokes[0]
    spoke.node.apply(link_set(spoke.plan.device, up=False))
    route = route_add(str(lab.topology.multicast_route), spoke.plan.device)

    with pytest.raises(OSError, match="Device for nexthop is not up") as refusal:
        spoke.node.apply(route)

    assert refusal.value.errno == errno.ENETDOWN

"""
Overlays that deliver and are not set up like a lab's: the suite finds every one of them conformant.

    another TTL, port or subnet; NICs that are bridges; a router on the underlay; addresses in addition to the overlay's
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import pytest

from lab.laboratory import Lab
from lab.model import Topology
from lab.overlay import commands, placement
from lab.stack.changes import addr_add, addr_del, bridge, link_add, link_set, route_add, veth
from lab.topology import topologies
from lab.underlay import fabric, policy
from selftests.live.conftest import on_this_kernel, plan
from selftests.live.moving_address import OwnSources
from selftests.live.test_suite import run

SECOND = 100
"""What is added to a host number for a second address on the underlay."""
MANAGEMENT = IPv4Network("192.168.77.0/24")
BRIDGE, ABOVE = "br-ens3", "above0"


def shell(lab: Lab, node: str, script: str) -> None:
    """Run commands inside a node, as its administrator would."""
    done = lab.nodes[node].run("sh", "-ec", script)
    assert done["status"] == 0, (node, script, done)


def remade(lab: Lab, *changes: tuple[str, str]) -> None:
    """Make every tunnel again, with parts of its parameters replaced."""
    topology = lab.topology
    for node in topology.nodes:
        for peer in topology.peers(node.name):
            command = f"ip link del {topology.port(node.name, peer)} && {commands.tunnel(topology, node, peer)}"
            for old, new in changes:
                command = re.sub(old, new, command)
            shell(lab, node.name, command)


def parameters(*changes: tuple[str, str]) -> Callable[[Lab], None]:
    """Tunnels with other parameters, as `remade`: another TTL, or Linux's default port."""
    return lambda lab: remade(lab, *changes)


def not_pinned(lab: Lab) -> None:
    """Tunnels whose outer source the routing table chooses, and that stand on no device."""
    remade(lab, (" local [0-9.]+", ""), (" dev ens3 ttl", " ttl"))
    for node in lab.topology.nodes:
        devices = lab.topology.ports("hub") if node.is_hub else [node.device]
        for device in devices:
            shell(lab, node.name, f"ip link set {device} mtu 8950")


def secondary_address(lab: Lab) -> None:
    """Tunnels between second addresses of the NICs."""
    both = {}
    for node in lab.topology.nodes:
        first = node.underlay
        second = IPv4Interface((second_of(first.ip), first.network.prefixlen))
        lab.cloud.assign(node.name, second.ip)
        own = OwnSources(policy.LOAD_WORD, policy.IP_SOURCE, policy.JUMP_EQUAL, int(first.ip), second=int(second.ip))
        lab.cloud.set_rules(node.name, own, source_check=False)
        shell(lab, node.name, f"ip addr add {second} dev {node.nic}")
        both[str(first.ip)] = str(second.ip)
    remade(lab, *((rf"\b{re.escape(first)}\b", second) for first, second in both.items()))


def second_of(address: IPv4Address) -> IPv4Address:
    return IPv4Address((int(address) & ~0xFF) | ((int(address) + SECOND) & 0xFF or 2))


def second_nic(lab: Lab) -> None:
    """The default route is out of another NIC than the overlay's."""
    shell(
        lab,
        "vcn",
        "ip link add management type bridge mcast_snooping 0 && ip link set management up && "
        f"ip addr add {MANAGEMENT[1]}/24 dev management",
    )
    for number, node in enumerate(lab.topology.nodes, 2):
        handle = lab.nodes[node.name].handle
        lab.fabric.apply(link_add(f"m-{node.name}", veth("mgmt0", handle), master="management"))
        shell(
            lab,
            node.name,
            f"ip link set mgmt0 up && ip addr add {MANAGEMENT[number]}/24 dev mgmt0 && "
            f"ip route del default && ip route add default via {MANAGEMENT[1]} dev mgmt0",
        )


def bridged_nic(lab: Lab) -> None:
    """The NIC is a port of a bridge, which has the address: a host of virtual machines."""
    for node in lab.topology.nodes:
        gateway = str(fabric.gateway_of(node).ip)
        lab.nodes[node.name].apply(
            link_add(BRIDGE, bridge(mcast_snooping=0), mtu=lab.underlay.provider.mtu, address=node.underlay_mac),
            addr_del(node.nic, str(node.underlay)),
            link_set(node.nic, master=BRIDGE),
            addr_add(BRIDGE, str(node.underlay)),
            route_add("0.0.0.0/0", BRIDGE, via=gateway),
        )


def device_on_nic(lab: Lab) -> None:
    """The address is on a device above the NIC, as with a bond or a VLAN, which this kernel may lack."""
    for node in lab.topology.nodes:
        gateway = fabric.gateway_of(node).ip
        shell(
            lab,
            node.name,
            f"ip addr flush dev ens3 && ip link add {ABOVE} link ens3 address {node.underlay_mac} "
            f"mtu {lab.underlay.provider.mtu} type macvlan mode passthru && ip link set {ABOVE} up && "
            f"ip addr add {node.underlay} dev {ABOVE} && ip route add default via {gateway}",
        )


def virtual_address(lab: Lab) -> None:
    """The hub has another address of the overlay's subnet, as keepalived gives it to one of several hosts."""
    shell(lab, "hub", "ip addr add 172.16.254.100/24 dev bridge0 && ip addr add 172.16.254.101/32 dev bridge0")


def host_route_nic(lab: Lab) -> None:
    """The NIC's address is a /32 and everything goes by the gateway, as on GCP."""
    silent = {f"net.ipv4.conf.{name}.send_redirects": 0 for name in ("all", "vcn")}
    lab.fabric.write_sysctls({"net.ipv4.ip_forward": 1, **silent})
    for node in lab.topology.nodes:
        shell(
            lab,
            node.name,
            f"ip addr del {node.underlay} dev ens3 && ip addr add {node.underlay.ip}/32 dev ens3 && "
            "ip route add 10.0.0.1 dev ens3 scope link && ip route add default via 10.0.0.1 dev ens3",
        )


def moved(subnet: str) -> Topology:
    return placement.readdressed(plan(), IPv4Network(subnet))


OVERLAYS: dict[str, tuple[Topology, int, tuple[Callable[[Lab], None], ...]]] = {
    "bridged-nic, ttl-auto, port-8472, virtual-address": (
        plan(),
        0,
        (
            bridged_nic,
            parameters(("dev ens3 ttl 64", f"dev {BRIDGE}"), ("dstport 4789", "dstport 8472")),
            virtual_address,
        ),
    ),
    "ttl-255, tos-fixed, df-set, subnet-20, two-routers": (
        topologies.routed(moved("10.20.16.0/20")),
        2,
        (parameters(("ttl 64", "ttl 255 tos 0x10 df set")),),
    ),
    "device-on-nic, ttl-inherit, tos-inherit, no-learning, no-checksum, subnet-29": (
        moved("192.168.254.8/29"),
        0,
        (
            device_on_nic,
            parameters(("dev ens3 ttl 64", f"dev {ABOVE} ttl inherit tos inherit nolearning noudpcsum")),
        ),
    ),
    "not-pinned, one-router": (topologies.routed(plan()), 1, (not_pinned,)),
    "secondary-address, second-nic": (plan(), 0, (secondary_address, second_nic)),
    "host-route-nic": (plan(), 0, (host_route_nic,)),
}
"""By name: the topology, the routers on its underlay, and what is changed; several differences that meet nowhere."""


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_good_overlay_is_conformant(name: str, tmp_path: Path) -> None:
    """Every MUST that live hosts can show holds, and no finding suggests a change."""
    topology, routers, changes = OVERLAYS[name]

    def prepare(lab: Lab) -> None:
        for change in changes:
            change(lab)

    (tmp_path / "rig").mkdir()
    with on_this_kernel(tmp_path / "rig", topology=topology, routers=routers, prepare=prepare, shared=True) as rig:
        done, result = run(rig, tmp_path)

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    assert result["findings"] == []

"""
Designs without a hub: a healthy one has no finding; faults beside the catalogue's have one, and its fix removes it.

    flood list   spoke1 vxlan0 -- copies to --> spoke2, spoke3
    mesh         spoke1 bridge0 [vxlan2, vxlan3], isolated ports
    pair         spoke1 vxlan1 ==== vxlan1 spoke2
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from lab import laboratory
from lab.clouds.providers import provider
from lab.diagnose import scene
from lab.diagnose.explain import explain
from lab.laboratory import BuiltLab
from lab.machines.base import Machine
from lab.model import Finding, TunnelOptions, Underlay
from lab.topology import bridged_addresses, designs
from selftests.faults.matrix.inner import machine_for


@dataclass(frozen=True)
class Case:
    """What is done to a host of a design, and what that is called there."""

    design: str
    node: str
    command: str
    code: str
    interface: str


CASES = (
    Case("flood-list", "spoke3", "ip link set vxlan0 down", "tunnel-down", "vxlan0"),
    Case("flood-list", "spoke3", "ip link del vxlan0", "tunnel-missing", "vxlan0"),
    Case("flood-list", "spoke2", "ip route del 224.0.0.0/4 dev vxlan0", "multicast-route-missing", "vxlan0"),
    Case("flood-list", "spoke2", "iptables -A OUTPUT -p udp --dport 4789 -j DROP", "tunnel-packets-dropped", "ens3"),
    Case("mesh", "spoke1", "ip link set vxlan2 nomaster", "port-not-bridged", "vxlan2"),
    Case("mesh", "spoke1", "bridge link set dev vxlan2 bcast_flood off", "broadcast-not-flooded", "vxlan2"),
    Case("mesh", "spoke3", "ip link set bridge0 down", "bridge-down", "bridge0"),
    Case("mesh", "spoke3", "ip link del vxlan1", "tunnel-missing", "vxlan1"),
    Case("pair", "spoke1", "ip link set vxlan1 down", "tunnel-down", "vxlan1"),
    Case("pair", "spoke2", "ip addr del 172.16.254.3/24 dev vxlan1", "overlay-address-missing", "vxlan1"),
    Case("pair", "spoke2", "iptables -A INPUT -p udp --dport 4789 -j DROP", "tunnel-packets-dropped", "ens3"),
)


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with machine_for("vxlan") as made:
        yield made


def built(machine: Machine, name: str) -> BuiltLab:
    cloud = provider("oci")
    topology = designs.topology(name, 3, TunnelOptions(kind="vxlan"), cloud.mtu, nearest=True)
    return laboratory.build(machine, topology, Underlay(cloud))


def found(lab: BuiltLab) -> tuple[Finding, ...]:
    return explain(scene.gather(lab))


@pytest.mark.parametrize("name", ["pair", "mesh", "flood-list"])
def test_nothing_is_found_where_nothing_is_wrong(machine: Machine, name: str) -> None:
    """A design as it was planned has no finding, and is read back as it was planned."""
    with built(machine, name) as lab:
        assert found(lab) == ()
        assert bridged_addresses.with_bridges(lab) is lab


@pytest.mark.parametrize("case", CASES, ids=[f"{case.design}, {case.code}" for case in CASES])
def test_a_fault_is_named_and_fixed(machine: Machine, case: Case) -> None:
    """One change of one host is one finding there, and nothing is wrong any more once its fix was run."""
    with built(machine, case.design) as lab:
        done = lab.nodes[case.node].run("sh", "-c", case.command)
        assert done["status"] == 0, done["errors"]

        first, *others = found(lab)
        fixed = lab.nodes[first.node].run("sh", "-c", first.remedy)

        assert (first.code, first.node, first.interface) == (case.code, case.node, case.interface)
        assert {(other.node, other.interface) for other in others} <= {(case.node, case.interface)}
        assert fixed["status"] == 0, fixed["errors"]
        assert found(lab) == ()

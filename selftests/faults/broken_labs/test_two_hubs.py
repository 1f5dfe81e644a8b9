"""
Designs with two hubs: a healthy one has no finding; faults beside the catalogue's have one, and its fix removes it.

    bond   spoke1 bond1 [gretap1 --> hub, gretap2 --> hub2]     hub gretap3 ==== gretap3 hub2
    PRP    spoke1 prp0  [gretap1 --> hub, gretap2 --> hub2]     the hubs are not joined

Most of it loses nothing while both hubs are there, which is what makes it worth a finding.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from lab import laboratory
from lab.clouds.providers import provider
from lab.diagnose import scene
from lab.diagnose.explain import explain
from lab.laboratory import BuiltLab
from lab.machines.base import Machine
from lab.model import Finding, TunnelOptions, Underlay
from lab.topology import designs
from selftests.faults.broken_labs.test_designs import Case
from selftests.faults.matrix.inner import machine_for

BOND, PRP = "two-hubs-bond", "two-hubs-prp"
BELIEVED_WITHIN = 10.0  # seconds

ROUND_ROBIN = (
    "ip link del bond1 && ip link add bond1 mtu 8962 type bond mode balance-rr && "
    "for leg in gretap1 gretap2; do ip link set $leg down && ip link set $leg master bond1; done && "
    "ip link set bond1 up && ip addr add 172.16.254.2/24 dev bond1 && ip route add 224.0.0.0/4 dev bond1"
)
CASES = (
    Case(BOND, "spoke1", "ip link set bond1 type bond arp_interval 0", "bond-not-watching", "bond1"),
    Case(BOND, "spoke2", "ip link set bond1 type bond arp_ip_target 172.16.254.1", "bond-not-watching", "bond1"),
    Case(BOND, "spoke1", "ip link set bond1 type bond arp_ip_target 10.0.0.99", "bond-not-watching", "bond1"),
    Case(BOND, "spoke1", "ip link set bond1 type bond all_slaves_active 1", "bond-of-both", "bond1"),
    Case(BOND, "spoke1", ROUND_ROBIN, "bond-of-both", "bond1"),
    Case(BOND, "hub2", "ip link set gretap3 nomaster", "port-not-bridged", "gretap3"),
    Case(BOND, "spoke2", "ip link set gretap2 nomaster", "leg-not-bonded", "gretap2"),
    Case(BOND, "spoke2", "ip link del bond1", "bond-missing", "bond1"),
    Case(BOND, "spoke1", "ip link del gretap2", "tunnel-missing", "gretap2"),
    Case(PRP, "spoke1", "ip link del gretap1", "tunnel-missing", "gretap1"),
    Case(PRP, "spoke2", "ip link del prp0", "prp-missing", "prp0"),
)


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with machine_for("gretap", kinds=(*designs.kinds(BOND), *designs.kinds(PRP))) as made:
        yield made


def built(machine: Machine, name: str) -> BuiltLab:
    cloud = provider("oci")
    return laboratory.build(machine, designs.topology(name, 2, TunnelOptions(), cloud.mtu), Underlay(cloud))


def found(lab: BuiltLab) -> tuple[Finding, ...]:
    return explain(scene.gather(lab))


def left(lab: BuiltLab) -> tuple[Finding, ...]:
    """What is still found; a PRP device that was made again counts from the start, which others believe after 0.4 s."""
    deadline = time.monotonic() + BELIEVED_WITHIN
    while (findings := found(lab)) and time.monotonic() < deadline:
        pass
    return findings


def run(lab: BuiltLab, node: str, command: str) -> None:
    done = lab.nodes[node].run("sh", "-c", command)
    assert done["status"] == 0, done["errors"]


@pytest.mark.parametrize("name", [BOND, PRP])
def test_nothing_is_found_where_nothing_is_wrong(machine: Machine, name: str) -> None:
    """A design as it was planned has no finding, once its hosts have noted each other."""
    with built(machine, name) as lab:
        assert left(lab) == ()


@pytest.mark.parametrize("case", CASES, ids=[f"{case.design}, {case.code} at {case.node}" for case in CASES])
def test_a_fault_is_named_and_fixed(machine: Machine, case: Case) -> None:
    """One change of one host is found there first, and nothing is wrong any more once the fixes were run."""
    with built(machine, case.design) as lab:
        run(lab, case.node, case.command)

        first, *others = found(lab)
        for finding in dict.fromkeys([first.remedy, *(other.remedy for other in others)]):
            if finding:
                run(lab, first.node, finding)

        assert (first.code, first.node, first.interface) == (case.code, case.node, case.interface)
        assert {(other.node, other.interface) for other in others} <= {(case.node, case.interface)}
        assert left(lab) == ()

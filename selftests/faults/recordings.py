"""
What the diagnosis looked at under each fault of the catalogue, recorded once, so that rules are tested without a lab.

    .venv/bin/python -m selftests.faults.recordings            every fault again: some minutes
    .venv/bin/python -m selftests.faults.recordings FAULT ...  these alone: new ones, and those that were changed

A recording is made in the first of `LABS` in which the diagnosis names the fault at its place.  Times are replaced by
their order, by which frames are sorted: nothing else is left out.
"""

from __future__ import annotations

import functools
import lzma
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from lab import laboratory
from lab.bundles import bundle
from lab.bundles.bundle import Case
from lab.clouds.providers import provider
from lab.diagnose import scene
from lab.diagnose.scene import Scene
from lab.errors import OvercastError
from lab.faults import catalogue
from lab.faults.fault import Fault
from lab.laboratory import BuiltLab
from lab.machines.base import Machine
from lab.machines.node import Node
from lab.model import Provider, Topology, TunnelOptions, Underlay
from lab.topology import bridged_addresses, designs, topologies
from selftests.faults.matrix.inner import LEAST_SPOKES, machine_for, spokes_for, tunnel_for

FOLDER = Path(__file__).parent / "recordings"
HEALTHY = ("healthy gretap", "healthy vxlan")
"""Labs without a fault."""
OVER_IPV6 = "ip6gretap"
CLOUD = "oci"

Make = Callable[[str, int], tuple[Topology, int]]
"""A topology with tunnels of a kind and that many spokes, and the routers that it goes over."""


def plan(kind: str, spokes: int) -> Topology:
    return topologies.star(spokes, TunnelOptions(kind=kind))


LABS: tuple[Make, ...] = (
    lambda kind, spokes: (plan(kind, spokes), 0),
    lambda kind, spokes: (replace(plan(kind, spokes), ipv6=True), 0),
    lambda kind, spokes: (topologies.routed(plan(kind, spokes)), 2),
    lambda kind, spokes: (topologies.star(spokes, TunnelOptions(kind=kind, ttl=None)), 0),
    lambda kind, spokes: (plan(OVER_IPV6 if kind == "gretap" else kind, spokes), 0),
)


def labs_of(fault: Fault) -> Sequence[Make]:
    """The labs in which a fault may be named: those of its topology, or several of a star."""
    if not fault.topology:
        return LABS
    mtu = cloud_of(fault).mtu
    return [lambda kind, spokes: (designs.topology(fault.topology, spokes, TunnelOptions(kind=kind), mtu), 0)]


def cloud_of(fault: Fault | None) -> Provider:
    """The cloud of the labs in which a fault is named."""
    return provider((fault and fault.provider) or CLOUD)


def file_of(fault: str) -> Path:
    """The recordings of one module of the catalogue."""
    if fault in HEALTHY:
        return FOLDER / "healthy.xz"
    module = next(name for name, faults in catalogue.by_module().items() if fault in faults)
    return FOLDER / f"{module}.xz"


@functools.cache
def read(path: Path) -> Mapping[str, str]:
    """The recordings of a file by fault, each a line that `bundle.case_of` reads."""
    if not path.exists():
        return {}
    lines = lzma.decompress(path.read_bytes()).decode().splitlines()
    return {name: line for name, _, line in (each.partition("\t") for each in lines)}


def case_of(fault: str) -> Case:
    """The recording of a fault; KeyError where there is none."""
    return bundle.case_of(read(file_of(fault))[fault])


def place(fault: Fault, seen: Scene) -> tuple[str, str]:
    """Where the diagnosis must find a fault in the lab that was recorded."""
    no_machine: Any = None  # nothing is read from a machine
    nodes = {name: Node(name, no_machine, 0) for name in seen.topology.plans}
    assert fault.finding is not None
    return fault.finding.at(BuiltLab(no_machine, seen.topology, seen.underlay, nodes))


def is_named(fault: Fault, case: Case) -> bool:
    """Whether the diagnosis of a recording names the fault, at its host and interface."""
    node, interface = place(fault, case.scene)
    assert fault.finding is not None
    every = {(one.code, one.node, one.interface) for one in case.findings()}
    return any((code, at) == (fault.finding.code, node) and interface in (device, "") for code, at, device in every)


def _recorded(machine: Machine, kind: str, fault: Fault | None) -> str:
    tried = []
    for make in labs_of(fault) if fault else LABS[:1]:
        topology, routers = make(kind, spokes_for(fault) if fault else LEAST_SPOKES)
        try:
            with laboratory.build(machine, topology, Underlay(cloud_of(fault), routers)) as lab:
                if fault:
                    fault.inject(lab)
                seen = scene.gather(bridged_addresses.with_bridges(lab))
        except OvercastError as problem:  # it cannot be made in such a lab
            tried.append(str(problem))
            continue
        case = Case(_in_order(seen))
        if fault is None or is_named(fault, case):
            return bundle.line(case)
        tried.append(repr([(one.code, one.node, one.interface) for one in case.findings()]))
    print(f"{fault and fault.name} is named in no lab: {tried}", file=sys.stderr)  # noqa: T201  a command
    return ""


def _in_order(seen: Scene) -> Scene:
    exchanges = [
        replace(each, sightings=tuple(replace(one, time=number) for number, one in enumerate(each.sightings)))
        for each in seen.trial.exchanges
    ]
    return replace(seen, trial=replace(seen.trial, exchanges=tuple(exchanges)))


def record(kind: str, faults: Sequence[str]) -> dict[str, str]:
    """The recordings of some faults, on one machine."""
    with machine_for(kind) as machine:
        known = {name: None if name in HEALTHY else catalogue.named(name) for name in faults}
        made = {name: _recorded(machine, kind, fault) for name, fault in known.items()}
        return {name: line for name, line in made.items() if line}


def main(wanted: Sequence[str]) -> None:
    """Records, and writes the files again."""
    known = [*catalogue.known(), *HEALTHY]
    names = wanted or known
    by_kind: dict[str, list[str]] = defaultdict(list)
    for name in names:
        kind = name.partition(" ")[2] if name in HEALTHY else tunnel_for(catalogue.named(name))
        by_kind[kind].append(name)
    made: dict[str, str] = {}
    with ProcessPoolExecutor() as processes:
        for each in processes.map(record, by_kind.keys(), by_kind.values()):
            made |= each
    FOLDER.mkdir(exist_ok=True)
    for path in {file_of(name) for name in made}:
        lines = {**read(path), **{name: line for name, line in made.items() if file_of(name) == path}}
        text = "".join(f"{name}\t{lines[name]}\n" for name in sorted(lines.keys() & known))
        path.write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))
    if missing := [name for name in names if name not in made]:
        raise SystemExit(f"not recorded: {', '.join(missing)}")


if __name__ == "__main__":
    main(sys.argv[1:])

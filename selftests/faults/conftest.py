"""Inner runs and diagnoses of faults, some at a time (`pool`); labs for tests that break one."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import replace

import execnet
import pytest

from lab import laboratory
from lab.clouds.providers import provider
from lab.errors import EnvironmentProblem
from lab.faults import catalogue
from lab.faults.fault import Fault
from lab.machines import choose
from lab.machines.base import Machine
from lab.machines.choose import Starting
from lab.model import TunnelOptions, Underlay
from lab.topology import designs, topologies
from selftests.faults.broken_labs.breaking import Case
from selftests.faults.matrix import diagnosis, inner, table
from selftests.faults.matrix.diagnosis import Diagnosed
from selftests.faults.matrix.inner import Ran
from selftests.faults.matrix.pool import pool

Runs = Mapping[str, Future[Mapping[str, Ran]]]
FAULTS_OF_A_RUN = 12
"""How many faults share an inner run: what it costs to collect tests is paid once, and few wait for the last run."""


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """The inner runs of the faults that the selected tests ask for, on their way: by fault, what came of its run."""
    folder = tmp_path_factory.mktemp("runs")
    alike: dict[tuple[str, int, str], list[Fault]] = defaultdict(list)
    for fault in map(catalogue.named, wanted(request)):
        alike[inner.tunnel_for(fault), inner.spokes_for(fault), fault.topology].append(fault)
    started: dict[str, Future[Mapping[str, Ran]]] = {}
    with pool() as workers:
        for _, faults in sorted(alike.items()):
            for first in range(0, len(faults), FAULTS_OF_A_RUN):
                few = faults[first : first + FAULTS_OF_A_RUN]
                future = workers.submit(functools.partial(inner.run, reports=folder / few[0].name, faults=few))
                started |= {fault.name: future for fault in few}
        yield started


@pytest.fixture(scope="module")
def diagnoses(request: pytest.FixtureRequest) -> Iterator[Mapping[str, Future[Diagnosed]]]:
    """The diagnoses of the faults that the selected tests ask for, on their way."""
    with diagnosis.processes(wanted(request)) as started:
        yield started


def wanted(request: pytest.FixtureRequest) -> list[str]:
    """The faults that the selected tests of this file ask for."""
    here = [
        item.callspec.params
        for item in request.session.items
        if item.path == request.path and hasattr(item, "callspec")
    ]
    return list(dict.fromkeys(params["fault"] for params in here))


@pytest.fixture
def row(record_property: Callable[[str, object], None]) -> Callable[[str, str, str], None]:
    """Notes one cell of the table: `row(fault, "found", "yes")`."""
    return lambda *cell: record_property(table.CELL, cell)


@pytest.fixture(scope="module")
def machines() -> Iterator[Callable[[str], Machine]]:
    """The machine that makes tunnels of a kind, started once."""
    starting: dict[str, Starting] = {}

    def machine(kind: str) -> Machine:
        try:
            if kind not in starting:
                starting[kind] = choose.start(choose.choose("auto", kind), execnet.Group())
            return starting[kind].machine()
        except EnvironmentProblem as problem:
            pytest.skip(str(problem))

    yield machine
    for each in starting.values():
        each.close()


@pytest.fixture
def lab(machines: Callable[[str], Machine], request: pytest.FixtureRequest) -> Iterator[laboratory.Lab]:
    """A lab for each test: what a fix does not restore must not be found by the next one."""
    case = getattr(request, "param", Case("", {}))
    plan = designs.topology(case.topology, 2, TunnelOptions(kind=case.kind), provider("oci").mtu)
    plan = replace(topologies.routed(plan) if case.routers else plan, ipv6=case.ipv6)
    with laboratory.build(machines(case.kind), plan, Underlay(provider("oci"), routers=case.routers)) as made:
        yield made

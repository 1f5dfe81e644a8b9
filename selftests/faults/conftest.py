"""The matrix of faults, each injected in a run of its own, some at a time (`pool`); labs for tests that break one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace

import execnet
import pytest

from lab import laboratory, topologies
from lab.errors import EnvironmentProblem
from lab.faults import catalogue
from lab.machines import choose
from lab.machines.base import Machine
from lab.machines.choose import Starting
from lab.model import TunnelOptions, Underlay
from lab.providers import provider
from selftests.faults import inner, table
from selftests.faults.breaking import Case
from selftests.faults.inner import Ran
from selftests.faults.pool import pool

Runs = dict[str, Future[Ran]]
CONTROL = "healthy"


@pytest.fixture(scope="session")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """The runs that the selected tests will ask for, by fault (or `healthy` and the kind of tunnel), on their way."""
    folder = tmp_path_factory.mktemp("matrix")
    wanted = [item.callspec.params for item in request.session.items if "runs" in getattr(item, "fixturenames", ())]
    with pool() as workers:
        started: Runs = {}
        for tunnel in dict.fromkeys(params["tunnel"] for params in wanted if "tunnel" in params):  # the longest first
            key = f"{CONTROL} {tunnel}"
            healthy = functools.partial(inner.run, reports=folder / key, tunnel=tunnel, requirements=reds_on(tunnel))
            started[key] = workers.submit(healthy)
        for name in dict.fromkeys(params["fault"] for params in wanted if "fault" in params):
            broken = functools.partial(inner.broken, reports=folder / name, fault=catalogue.named(name))
            started[name] = workers.submit(broken)
        yield started


def reds_on(tunnel: str) -> list[str]:
    """The requirements that some fault turns red on a kind of tunnel."""
    return sorted(
        {red for fault in catalogue.known().values() if inner.tunnel_for(fault) == tunnel for red in fault.reds}
    )


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
    plan = topologies.standard(2, TunnelOptions(kind=case.kind))
    plan = replace(topologies.routed(plan) if case.routers else plan, ipv6=case.ipv6)
    with laboratory.build(machines(case.kind), plan, Underlay(provider("oci"), routers=case.routers)) as made:
        yield made

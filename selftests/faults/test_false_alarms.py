"""
Nothing is wrong with a healthy lab, and the diagnosis says so: in every topology, kind of tunnel and cloud, every time.

    laboratory.build  -->  scene.gather  -->  explain  -->  no finding
"""

from collections.abc import Iterator
from dataclasses import replace

import execnet
import pytest

from lab import laboratory, topologies
from lab.diagnose import scene
from lab.diagnose.explain import explain
from lab.errors import EnvironmentProblem
from lab.laboratory import Lab
from lab.machines import choose
from lab.machines.base import Machine
from lab.model import TunnelOptions, Underlay
from lab.providers import PROVIDERS, provider

ROUNDS = 10


@pytest.fixture(scope="module", params=["gretap", "vxlan"])
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A machine for each kind of tunnel."""
    try:
        starting = choose.start(choose.choose("auto", request.param), execnet.Group())
    except EnvironmentProblem as problem:
        pytest.skip(str(problem))
    yield starting.machine()
    starting.close()


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.node.callspec.params["machine"])


def found(lab: Lab) -> set[str]:
    """The codes of what the diagnosis finds; the lab is closed."""
    with lab:
        return {finding.code for finding in explain(scene.gather(lab, planned=True))}


@pytest.mark.parametrize("cloud", PROVIDERS)
@pytest.mark.parametrize("routers", [0, 1])
@pytest.mark.parametrize("spokes", [1, 3])
def test_nothing_is_found_where_nothing_is_wrong(machine, kind, cloud, routers, spokes):
    """A standard lab on every cloud that carries its tunnels, near and far, small and large, has no finding."""
    carries = provider(cloud).gre if kind == "gretap" else provider(cloud).vxlan
    if not carries:
        pytest.skip(f"{cloud} drops what {kind} is carried in")
    plan = topologies.standard(spokes, TunnelOptions(kind=kind))
    plan = topologies.routed(plan) if routers else plan

    assert found(laboratory.build(machine, plan, Underlay(provider(cloud), routers))) == set()


@pytest.mark.parametrize("options", [{"ttl": None}, {"key": 7}, {"checksum": True, "sequence": True}, {"local": False}])
def test_options_that_were_asked_for_are_no_fault(machine, kind, options):
    """A lab whose tunnels are made in another way on purpose has no finding."""
    if kind != "gretap" and set(options) & {"key", "checksum", "local"}:
        pytest.skip("speaks of GRE")
    plan = topologies.standard(2, replace(TunnelOptions(kind=kind), **options))

    assert found(laboratory.build(machine, plan, Underlay(provider("oci")))) == set()


@pytest.mark.parametrize("routers", [0, 1])
def test_of_the_articles_lab_its_own_mistakes_are_found(machine, kind, routers):
    """The article's literal set-up is told what it gets wrong, and nothing else."""
    plan = topologies.article(2, TunnelOptions(kind=kind))
    plan = topologies.routed(plan) if routers else plan
    expected = {"multicast-route-narrow", "tunnel-ttl-inherit"} if routers else {"multicast-route-narrow"}

    assert found(laboratory.build(machine, plan, Underlay(provider("oci"), routers))) == expected


def test_time_after_time(machine, kind):
    """The same lab, asked again and again, stays without a finding."""
    plan = topologies.standard(2, TunnelOptions(kind=kind))
    with laboratory.build(machine, plan, Underlay(provider("oci"))) as lab:
        told = [explain(scene.gather(lab, planned=True)) for _ in range(ROUNDS)]

    assert told == [()] * ROUNDS

"""Machines for the library's own tests: the same bodies run over every way to a kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import execnet
import pytest

from lab import laboratory
from lab.clouds.providers import provider
from lab.laboratory import Lab
from lab.machines import choose
from lab.machines.base import Machine
from lab.model import TunnelOptions, Underlay
from lab.topology import designs, topologies

# what each machine can always make: the guest has gretap, any kernel that runs this has vxlan
TUNNELS = {"local": "vxlan", "guest": "gretap"}


def _started(kind: str) -> choose.Starting:
    choice = choose.choose("host" if kind == "local" else "guest", TUNNELS[kind])
    return choose.start(choice, execnet.Group())


@pytest.fixture(scope="session", params=["local", "guest"], ids=["over=local", "over=guest"])
def any_machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    starting = _started(request.param)
    yield starting.machine()
    starting.close()


@pytest.fixture(scope="module")
def kept_lab(any_machine: Machine) -> Iterator[Lab]:
    """One lab for all tests of a module, each of which puts back what it changes."""
    chosen = topologies.star(2, TunnelOptions(kind=TUNNELS[any_machine.kind]))
    lab = laboratory.build(any_machine, chosen, Underlay(provider("oci")))
    yield lab
    lab.close()


@pytest.fixture
def make_lab(any_machine: Machine) -> Iterator[Callable[..., Lab]]:
    """Labs on that machine, closed at the end."""
    made: list[Lab] = []

    def make(*, name: str = "star", spokes: int = 2, routers: int = 0, overlay: bool = True, **options: object) -> Lab:
        chosen = TunnelOptions(**{"kind": TUNNELS[any_machine.kind], **options})
        topology = designs.STARS[name](spokes, chosen)
        if routers:
            topology = topologies.routed(topology)
        lab = laboratory.build(any_machine, topology, Underlay(provider("oci"), routers), overlay=overlay)
        made.append(lab)
        return lab

    yield make
    for lab in made:
        lab.close()


@pytest.fixture
def lab(make_lab: Callable[..., Lab]) -> Lab:
    return make_lab()

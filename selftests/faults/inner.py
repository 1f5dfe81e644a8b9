"""Runs of the conformance suite beside this one (`pool`), judged by their conformance.json."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import execnet
import pytest

from lab import topologies
from lab.errors import EnvironmentProblem
from lab.faults.fault import Fault
from lab.laboratory import BuiltLab
from lab.machines import choose
from lab.machines.base import Machine
from lab.machines.node import Node
from lab.model import TunnelOptions, Underlay
from lab.providers import provider
from lab.requirements import ON_DEMAND, area_of
from selftests.faults.broken_then_mended import FILE
from selftests.faults.pool import ROOT, Run

# pictures of the failures are wanted in nobody's inner run, and cost more than the failures do
LEAN = ("-q", "-p", "no:cacheprovider", "-p", "no:fixtures.evidence", "-p", "no:allure_pytest")

LEAST_SPOKES = 2


@dataclass(frozen=True)
class Ran:
    """
    What came of one run: the outcome of each requirement, and what was printed.

    Of a broken lab besides: what was found wrong, how each requirement's tests failed once it was mended as the
    findings say (nothing: they passed), and the remedies that were refused.
    """

    command: str
    outcomes: dict[str, str]
    printed: str
    findings: tuple[dict[str, str], ...] = ()
    mended: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    def of(self, requirements: Iterable[str]) -> dict[str, str]:
        """The outcomes of some requirements; one that the run did not speak of is `unheard`."""
        return {identity: self.outcomes.get(identity, "unheard") for identity in requirements}


@contextlib.contextmanager
def machine_for(tunnel: str, kernel: str = "auto", kinds: Sequence[str] = ()) -> Iterator[Machine]:
    """A machine that makes tunnels of a kind, and further kinds of links; without one, tests are skipped."""
    try:
        starting = choose.start(choose.choose(kernel, tunnel, kinds=kinds), execnet.Group())
    except EnvironmentProblem as problem:
        pytest.skip(str(problem))
    try:
        yield starting.machine()
    finally:
        starting.close()


@functools.cache
def tunnel_for(fault: Fault) -> str:
    """The kind of tunnel to show a fault on: VXLAN if it can be broken so and this kernel has it."""
    if "vxlan" in fault.tunnels:
        try:
            if choose.choose("host", "vxlan").kind == "local":
                return "vxlan"
        except EnvironmentProblem:
            pass
    return fault.tunnels[0]


def files_of(requirements: Collection[str]) -> list[str]:
    """The files of tests that name any of the requirements: the others need not even be collected."""
    every = sorted((ROOT / "tests").rglob("test_*.py"))
    texts = {path: path.read_text(encoding="utf-8") for path in every}
    named = [path for path, text in texts.items() if any(f'"{identity}"' in text for identity in requirements)]
    return [str(path.relative_to(ROOT)) for path in named]


def run(pytest: Run, reports: Path, tunnel: str, requirements: Collection[str], *more: str) -> Ran:
    """Runs the tests of some requirements."""
    arguments = [f"--tunnel={tunnel}", f"--requirements={','.join(requirements)}", *more]
    if any(area_of(identity) in ON_DEMAND for identity in requirements):
        arguments.append("--applications")
    printed = pytest([*LEAN, f"--reports={reports}", *arguments, *files_of(requirements)])
    judged = _read(reports / "conformance.json").get("requirements", [])
    besides = _read(reports / FILE)
    return Ran(
        "pytest " + " ".join(arguments),
        {one["id"]: one["outcome"] for one in judged},
        printed,
        tuple(besides.get("findings", ())),
        besides.get("outcomes", {}),
        besides.get("refused", {}),
    )


def broken(pytest: Run, reports: Path, fault: Fault) -> Ran:
    """Runs the tests of what a fault turns red and of what it must not, and again when it is mended."""
    mend = ["--mend"] if fault.mended else []
    plugin = ["-p", "selftests.faults.broken_then_mended", f"--reds={','.join(fault.reds)}", *mend]
    plugin += [f"--spokes={fault.spokes}"] if fault.spokes > LEAST_SPOKES else []
    tunnel = tunnel_for(fault)
    return run(pytest, reports, tunnel, [*fault.reds, *fault.greens], f"--inject={fault.name}", *plugin)


def place(fault: Fault) -> tuple[str, str]:
    """Where the diagnosis must find a fault, in a lab of the kind that it is shown on."""
    topology = topologies.standard(max(LEAST_SPOKES, fault.spokes), TunnelOptions(kind=tunnel_for(fault)))
    nobody: Any = None  # of a lab that is only named after, no machine is asked anything
    nodes = {plan.name: Node(plan.name, nobody, 0) for plan in topology.nodes}
    lab = BuiltLab(nobody, topology, Underlay(provider("oci")), nodes)
    assert fault.finding is not None, f"{fault.name} names no finding"
    return fault.finding.at(lab)


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}

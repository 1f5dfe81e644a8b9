"""Runs of the conformance suite beside this one (`pool`), judged by their conformance.json."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import execnet
import pytest

from lab.errors import EnvironmentProblem
from lab.faults.fault import Fault
from lab.machines import choose
from lab.machines.base import Machine
from lab.requirements import area_of
from selftests.faults.matrix.in_turn import FILE, HEALTHY
from selftests.faults.matrix.pool import ROOT, Run

# no inner run needs pictures of the failures, and they cost more than the failures do
LEAN = ("-q", "-p", "no:cacheprovider", "-p", "no:fixtures.failures.evidence", "-p", "no:allure_pytest")

LEAST_SPOKES = 2


@dataclass(frozen=True)
class Ran:
    """What came of one fault: how to run it alone, the outcome of each requirement, and what the whole run printed."""

    command: str
    outcomes: dict[str, str]
    printed: str

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


def spokes_for(fault: Fault) -> int:
    """How many spokes the labs of a fault have."""
    return max(LEAST_SPOKES, fault.spokes)


def run(pytest: Run, reports: Path, faults: Sequence[Fault]) -> dict[str, Ran]:
    """
    Runs the tests of what each fault turns red and of what it must not; those that failed, again on healthy labs.

    The faults are shown on one kind of tunnel, with as many spokes, on one topology.
    """
    tunnel, spokes, topology = tunnel_for(faults[0]), spokes_for(faults[0]), faults[0].topology
    wanted = {fault.name: [*fault.reds, *fault.greens] for fault in faults}
    every = sorted({identity for each in wanted.values() for identity in each})
    lab = [f"--tunnel={tunnel}", f"--spokes={spokes}", *([f"--topology={topology}"] if topology else [])]
    lab += [f"--provider={faults[0].provider}"] if faults[0].provider else []
    asked = [*lab, f"--requirements={','.join(every)}", f"--faults={','.join(wanted)}"]
    if any(area_of(identity) == "APP" for identity in every):
        asked.append("--applications")
    plugin = ["-p", "selftests.faults.matrix.in_turn"]
    printed = pytest([*LEAN, *plugin, f"--reports={reports}", *asked, *files_of(every)])
    came = _read(reports / FILE)
    alone = {
        name: f"pytest {' '.join(lab)} --inject={name} --requirements={','.join(each)}" for name, each in wanted.items()
    }
    return {name: Ran(alone.get(name, ""), came.get(name, {}), printed) for name in (*alone, HEALTHY)}


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}

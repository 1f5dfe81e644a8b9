"""
The diagnosis of every fault without pytest: a lab is broken, explained, fixed as is printed, and explained again.

    process   lab  --inject-->  trial, explain  --the fixes-->  trial, explain
    process   ...                                                                  (`processes`)
"""

from __future__ import annotations

import ctypes
import functools
import multiprocessing
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

from lab import laboratory
from lab.diagnose import scene
from lab.diagnose.explain import explain
from lab.diagnose.scene import Scene
from lab.errors import OvercastError
from lab.faults import catalogue
from lab.faults.fault import Fault
from lab.laboratory import BuiltLab
from lab.model import Finding, Underlay
from lab.topology import bridged_addresses
from selftests.faults import recordings
from selftests.faults.matrix.inner import spokes_for, tunnel_for
from selftests.faults.matrix.pool import WORKERS
from selftests.faults.matrix.worker import Machines

DEADLINE = 120  # seconds for one fault; one or two in practice, ten where connections are waited for
NOTICED_WITHIN = 5.0  # seconds until hosts have noticed what a fix changed: a VRRP master, an advertisement a second
Key = tuple[str, str, str]
"""Code, host and interface of a finding."""


@dataclass(frozen=True)
class Diagnosed:
    """What was found in a lab with a fault, and after the printed fixes were run on its hosts."""

    expected: Key
    found: tuple[Key, ...]
    lost: tuple[str, ...]
    """What the trial lost."""
    refused: tuple[str, ...] = ()
    """The fixes that failed, and why."""
    left: tuple[Key, ...] = ()
    still_lost: tuple[str, ...] = ()

    @property
    def is_named(self) -> bool:
        """Whether the fault is found at its host and interface."""
        code, node, interface = self.expected
        return any((one[0], one[1]) == (code, node) and interface in (one[2], "") for one in self.found)


@contextmanager
def processes(faults: Sequence[str]) -> Iterator[Mapping[str, Future[Diagnosed]]]:
    """The diagnoses of some faults, on their way in some processes."""
    spawning = multiprocessing.get_context("spawn")  # a fork would have the threads' locks of this process
    with ProcessPoolExecutor(WORKERS, spawning, initializer=_begin) as executor:
        try:
            yield {name: executor.submit(diagnosed, name) for name in faults}
        finally:
            executor.shutdown(cancel_futures=True)


def _begin() -> None:
    """A process that ends with the one that made it, and in which an alarm ends a diagnosis that does not end."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    signal.signal(signal.SIGALRM, _too_late)


def _too_late(number: int, frame: object) -> None:
    raise TimeoutError(f"no end within {DEADLINE} s")


@functools.cache
def machines() -> Machines:
    """The machines of this process."""
    return Machines()


def diagnosed(name: str) -> Diagnosed:
    """The diagnosis of a fault, in the first kind of lab in which it is found."""
    signal.alarm(DEADLINE)
    try:
        return _diagnosed(catalogue.named(name))
    finally:
        signal.alarm(0)


def _diagnosed(fault: Fault) -> Diagnosed:
    kind = tunnel_for(fault)
    machine = machines().starting(kind).machine()
    first: Diagnosed | None = None
    refused = ""
    for make in recordings.labs_of(fault):
        topology, routers = make(kind, spokes_for(fault))
        try:
            with laboratory.build(machine, topology, Underlay(recordings.cloud_of(fault), routers)) as lab:
                fault.inject(lab)
                came = _in(lab, fault)
        except OvercastError as problem:  # it cannot be made in such a lab
            refused = str(problem)
            continue
        if came.is_named:
            return came
        first = first or came
    assert first is not None, f"{fault.name} can be injected into no lab: {refused}"
    return first


def _in(lab: BuiltLab, fault: Fault) -> Diagnosed:
    seen, found = _explained(lab)
    expected = fault.finding
    assert expected is not None
    before = Diagnosed((expected.code, *expected.at(lab)), _keys(found), _lost(seen))
    if not before.is_named or not fault.fixable:
        return before
    refused = []
    for node, fix in dict.fromkeys((one.node, one.remedy) for one in found if one.remedy and one.node in lab.nodes):
        done = lab.nodes[node].run("sh", "-c", fix)
        if done["status"] != 0:
            refused.append(f"{node}: {fix}: {str(done['errors']).strip()}")
    seen, left = _explained(lab)
    deadline = time.monotonic() + NOTICED_WITHIN
    while any(not one.note for one in left) and time.monotonic() < deadline:
        seen, left = _explained(lab)
    remaining = _keys([one for one in left if not one.note])
    return replace(before, refused=tuple(refused), left=remaining, still_lost=_lost(seen))


def _explained(lab: BuiltLab) -> tuple[Scene, tuple[Finding, ...]]:
    lab.forget_neighbours()
    seen = scene.gather(bridged_addresses.with_bridges(lab))
    return seen, explain(seen)


def _keys(findings: Sequence[Finding]) -> tuple[Key, ...]:
    return tuple((one.code, one.node, one.interface) for one in findings)


def _lost(seen: Scene) -> tuple[str, ...]:
    return tuple(map(str, seen.losses))

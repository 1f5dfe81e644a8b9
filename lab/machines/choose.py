"""
Which machine runs a lab: this kernel when it can create the overlay's kind of link, otherwise a guest kernel.

    chosen = choose("auto", "gretap")       Choice("guest", "this kernel (6.18.44) has no gretap: a guest kernel ...")
    starting = start(chosen, group)         at once: the machine comes up beside whatever else is to be done
    machine = starting.machine()            waits for it; what went wrong meanwhile is raised here
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import execnet

from lab import interrupts
from lab.errors import EnvironmentProblem, UsageProblem
from lab.machines import abilities, local
from lab.machines.base import Agent, Machine
from lab.machines.guests import guest, uml
from lab.tunnels import FALLBACK, KINDS, NONE

KERNELS = ("auto", "host", "guest")
EVERY_LAB = ("veth", "bridge")
"""The kinds of link that a lab has whatever its overlay is."""

SHARED_TABLES = {"net.core.netdev_max_backlog": 1000, "net.ipv4.neigh.default.gc_thresh3": 1024}
"""
What every namespace of a kernel shares, and its size where a container hides it: the queue of received frames, and the
neighbours.  A guest's are ours (`guest_init`); what overflows here loses packets of a healthy overlay.
"""
FRAMES_PER_PAIR = 4
"""A broadcast ping: every host resolves the pinger, by a request to every host, queued bare and in the tunnel."""

GUEST = "a guest kernel (User-Mode Linux) runs the lab"


@dataclass(frozen=True)
class Choice:
    """The kind of machine, and why in one line that can be announced."""

    kind: Literal["local", "guest"]
    reason: str


def known(kernel: str) -> str:
    """The word itself; UsageProblem when it is not `auto`, `host` or `guest`."""
    if kernel not in KERNELS:
        raise UsageProblem(f"unknown kernel {kernel!r}: expected one of {', '.join(KERNELS)}")
    return kernel


def choose(kernel: str, tunnel: str, hosts: int = 0, kinds: Sequence[str] = ()) -> Choice:
    """
    Decides by trying, in a few milliseconds; `kernel` is `auto`, `host` or `guest`, `hosts` how many the lab has.

    `kinds` are further kinds of links that it needs.

    Raises EnvironmentProblem when neither kernel can (or the one that was asked for cannot), UsageProblem for an
    unknown word.
    """
    if known(kernel) == "guest":
        if problem := guest.available():
            found = f"--kernel=guest needs a guest kernel, but {problem.message}"
            raise EnvironmentProblem(found, remedy=problem.remedy)
        return Choice("guest", f"--kernel=guest: {GUEST}")
    lack = _lack_of_host(tunnel, kinds) or lack_of_room(hosts)
    if lack is None:
        has = "all that a lab needs" if tunnel == NONE.name else tunnel
        return Choice("local", f"this kernel ({release()}) has {has}: it runs the lab")
    problem = guest.available()
    if kernel == "host":
        first = f"{problem.remedy}, and then " if problem else ""
        by_guest = f"{first}leave --kernel=host out: a guest kernel (User-Mode Linux) then runs the lab"
        raise EnvironmentProblem(
            f"--kernel=host needs a kernel that can run the lab, but {lack.message}",
            remedy=_alternatives(lack.remedy, _other_tunnel(tunnel), by_guest),
        )
    if problem:
        raise EnvironmentProblem(
            f"no kernel can run the lab: {lack.message}; a guest kernel cannot boot: {problem.message}",
            remedy=_alternatives(problem.remedy, lack.remedy, _other_tunnel(tunnel)),
        )
    return Choice("guest", f"{lack.message}: {GUEST}")


def _alternatives(*commands: str | None) -> str:
    return "; or ".join(filter(None, commands))


def _other_tunnel(tunnel: str) -> str | None:
    """The kind of tunnel that this kernel can make instead."""
    if tunnel == FALLBACK or _lack_of_host(FALLBACK) is not None:
        return None
    return f"--tunnel={FALLBACK}, which this kernel has"


def release() -> str:
    """The running kernel's version without the distribution's suffix."""
    return os.uname().release.partition("-")[0]


def _lack_of_host(tunnel: str, kinds: Sequence[str] = ()) -> EnvironmentProblem | None:
    """What this kernel lacks for a lab with that kind of tunnel; None when it lacks nothing."""
    beside = KINDS[tunnel].beside if tunnel in KINDS else ()
    made = [] if tunnel == NONE.name else [tunnel]
    found = abilities.probe([*EVERY_LAB, *made, *kinds, *beside])
    if found.namespaces:
        return local.unavailable() or EnvironmentProblem(
            f"namespaces are not permitted here ({os.strerror(found.namespaces)})",
            remedy="run with sudo" if os.geteuid() else local.PRIVILEGED,
        )
    for what, number in found.named():
        if number and what not in beside:
            why = "" if number in abilities.UNKNOWN else f" ({os.strerror(number)})"
            return EnvironmentProblem(f"this kernel ({release()}) has no {what}{why}", remedy=abilities.remedy(what))
    return local.missing_program()


def lack_of_room(hosts: int) -> EnvironmentProblem | None:
    """Which table that all namespaces of this kernel share is too small for so many hosts; None when none is."""
    needed = FRAMES_PER_PAIR * hosts**2
    for name, default in SHARED_TABLES.items():
        path = Path("/proc/sys", *name.split("."))
        size = int(path.read_bytes()) if path.exists() else default
        if size < needed:
            return EnvironmentProblem(
                f"all namespaces of this kernel share {name} = {size}; {hosts} hosts need {needed}",
                remedy="sudo sysctl -w " + " ".join(f"{each}={needed}" for each in SHARED_TABLES),
            )
    return None


class Starting:
    """
    A machine on its way.  `machine` waits for it, `close` ends it, also while it still starts; `answered` and `warm`
    are the seconds until its agent answered and until that had imported what a lab needs.

    The thread in which it starts lives as long as it: the kernel ends a local agent with the thread that started it.
    """

    def __init__(self, make: Callable[[], Machine], abandon: Callable[[], None] = lambda: None) -> None:
        self._make, self._abandon = make, abandon
        self._machine: Machine | None = None
        self._error: BaseException | None = None
        self._ready, self._closed = threading.Event(), threading.Event()
        self._began = time.monotonic()
        self.answered = self.warm = 0.0
        self._thread = threading.Thread(target=self._live, name="machine", daemon=True)
        self._thread.start()

    def _live(self) -> None:
        try:
            machine = self._make()
            self._machine = machine
            self.answered = time.monotonic() - self._began
            machine.facts["pyroute2"] = machine.call(Agent.warm_up)
            self.warm = time.monotonic() - self._began
        except BaseException as error:
            self._error = error
        self._ready.set()
        self._closed.wait()

    def machine(self) -> Machine:
        """The machine, ready for its first lab; raises what kept it from starting."""
        with interrupts.waiting():
            self._ready.wait()
        if self._error is not None:
            self.close()
            raise self._error
        assert self._machine is not None
        return self._machine

    def close(self) -> None:
        """Ends the machine, whatever state it is in.  Idempotent."""
        if self._closed.is_set():
            return
        if not self._ready.is_set():
            self._abandon()
            self._ready.wait()
        if self._machine is not None:
            self._machine.close()
        self._closed.set()
        self._thread.join()


@contextlib.contextmanager
def running(choice: Choice, spokes: int = 2) -> Iterator[Starting]:
    """The chosen machine, started for the length of a block (`start`)."""
    group = execnet.Group()
    starting = start(choice, group, spokes)
    try:
        yield starting
    finally:
        starting.close()
        group.terminate(1.0)


def start(choice: Choice, group: execnet.Group, spokes: int = 2) -> Starting:
    """
    Starts the chosen machine, for labs with so many spokes, and returns at once.

    Call it from the main thread, which a guest lives and dies with.
    """
    if choice.kind == "local":
        return Starting(lambda: local.start(group))
    booting = guest.Booting(memory=uml.memory_for(spokes))

    def make() -> Machine:
        gateway = booting.gateway(group, f"guest-{os.getpid()}")
        try:
            return Machine(
                "guest",
                "the guest kernel",
                gateway,
                [],
                on_close=booting.close,
                obituary=lambda why: booting.lost(why=why),
                remind=booting.poke,
            )
        except BaseException:
            booting.close()
            raise

    return Starting(make, abandon=booting.kill)

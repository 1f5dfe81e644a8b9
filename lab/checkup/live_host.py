"""
Live hosts looked at: everything that their checks need, read at once from all of them, changing nothing.

A host that is lost meanwhile is named and left out; the others' results are kept.
"""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from lab.errors import EnvironmentProblem, OvercastError
from lab.firewall.verdicts import Firewall
from lab.machines.base import Call, Machine
from lab.machines.live.hosts import HostSpec
from lab.machines.node import Agent, Observed
from lab.overlay.recognition import readback
from lab.overlay.recognition.readback import BROADCAST_PING, ConfiguredNode, Device
from lab.stack.records import typed
from lab.tunnels import KINDS

MEMBERSHIPS = "net.ipv4.igmp_max_memberships"
REVERSE_PATH = ("net.ipv4.conf.all.rp_filter", "net.ipv4.conf.default.rp_filter")
"""Of these the greater one holds for a new device (ip-sysctl)."""
MODULES = {kind.name: kind.module for kind in KINDS.values()}
OVER_TUNNELS = {"bond": "bonding", "hsr": "hsr"}
"""The modules for the kinds of link that a design may need over its tunnels."""
BRIDGE = "bridge"
ALL = "all hosts"

Result = TypeVar("Result")


@dataclass(frozen=True)
class LiveHost:
    """One live host as it is."""

    spec: HostSpec
    node: Observed
    seen: ConfiguredNode
    details: Mapping[str, Any]
    """The result of `examine`: modules, persisted sysctls, DMI, machine-id."""
    sysctls: Mapping[str, str | None]
    firewall: Firewall | None
    """None: unknown without root on the host."""
    ahead: float
    """Seconds that its clock is ahead of this machine's."""
    tolerance: float
    """Seconds by which `ahead` can be wrong: half of the time that asking took."""

    @property
    def role(self) -> str:
        return self.spec.role

    @property
    def facts(self) -> Mapping[str, Any]:
        return self.node.machine.facts

    @property
    def nic(self) -> Device | None:
        """The device of the default route, which has the host's address in the cloud."""
        route = self.seen.default_route
        return self.seen.devices.get(route.dev) if route and route.dev else None

    @property
    def address(self) -> str | None:
        route = self.seen.default_route
        addresses = [str(address.ip) for address in self.seen.addresses_of(self.nic.name)] if self.nic else []
        # the one that the host sends from; a second address, or one of another purpose, may come before it
        chosen = [address for address in addresses if route and address == route.src]
        return next(iter([*chosen, *addresses]), None)


def look(
    machines: Mapping[str, Machine], specs: Sequence[HostSpec], deadline: float
) -> tuple[dict[str, LiveHost], dict[str, OvercastError]]:
    """The hosts by role, and what kept others from being looked at; `deadline` is on the monotonic clock."""
    by_role = {spec.role: spec for spec in specs}
    return each(machines, lambda role: _host(by_role[role], machines[role]), deadline)


def each(
    machines: Mapping[str, Machine], do: Callable[[str], Result], deadline: float
) -> tuple[dict[str, Result], dict[str, OvercastError]]:
    """
    Does something with every host, at the same time; also returns what Overcast or a host's kernel refused.

    What takes longer than half of the time to the deadline is ended, its machine closed: the other half is for the
    others' next steps.
    """
    found: dict[str, Result] = {}
    refused: dict[str, OvercastError] = {}
    pool = concurrent.futures.ThreadPoolExecutor(max(1, len(machines)))
    running = {pool.submit(do, name): name for name in machines}
    _, late = concurrent.futures.wait(running, max(0.0, deadline - time.monotonic()) / 2)
    for future, name in running.items():
        machine = machines[name]
        if future in late:
            refused[name] = EnvironmentProblem(f"{machine.name} did not answer in time")
            # which ends what waits for its answer; no caller has to wait for that
            threading.Thread(target=machine.close, name=f"end of {name}").start()
            continue
        try:
            found[name] = future.result()
        except OvercastError as problem:
            refused[name] = problem
        except OSError as error:
            refused[name] = EnvironmentProblem(f"{machine.name}: {error.strerror or error}")
    pool.shutdown(wait=False)
    return found, refused


def _host(spec: HostSpec, machine: Machine) -> LiveHost:
    node = Observed.home(spec.role, machine)
    seen = readback.read([node])[spec.role]
    asked = time.time_ns()
    hello = machine.hello()
    answered = time.time_ns()
    calls: list[Call[Any]] = [
        node.call(Agent.examine, modules=[*MODULES.values(), *OVER_TUNNELS.values(), BRIDGE], sysctls=[BROADCAST_PING]),
        node.call(Agent.sysctl_read, names=[BROADCAST_PING, MEMBERSHIPS, *REVERSE_PATH]),
    ]
    if node.rooted:
        calls.append(node.call(Agent.firewall))
    details, sysctls, *listed = machine.batch(calls)
    return LiveHost(
        spec=spec,
        node=node,
        seen=seen,
        details=details,
        sysctls=sysctls,
        firewall=Firewall(typed("firewall", listed[0])) if listed else None,
        ahead=(hello["time"] - (asked + answered) / 2) / 1e9,
        tolerance=(answered - asked) / 2e9,
    )

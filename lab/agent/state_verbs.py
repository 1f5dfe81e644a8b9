"""The agent's verbs that change nothing: what is configured in a node, what was counted, what may filter there."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from typing import Any, Callable

from lab.agent.node import AgentNode
from lab.agent.rtnl import Transport
from lab.agent.stack import (
    configured,
    foreign_namespaces,
    mdb,
    mroute,
    parameters,
    procfs,
    reading,
    routing,
    traffic,
    vlans,
)

READINGS: dict[str, Callable[[Transport], Iterable[dict[str, Any]]]] = {
    "links": reading.links,
    "ports": reading.ports,
    "addresses": reading.addresses,
    "routes": reading.routes,
    "rules": reading.rules,
    "neighbours": reading.neighbours,
    "fdb": reading.fdb,
    "mdb": mdb.entries,
    "mdb_routers": mdb.routers,
    "parameters": parameters.entries,
    "vlans": vlans.entries,
    "qdiscs": traffic.qdiscs,
    "filters": traffic.filters,
}


class StateVerbs:
    """Every public method is a verb; arguments and results are builtins."""

    def __init__(self) -> None:
        self._nodes: dict[int, AgentNode] = {}

    def _namespace_of(self, handle: int) -> int:
        return self._nodes[handle].stack.namespace

    def _perform(self, verb: str, positional: Sequence[Any], named: dict[str, Any]) -> Any:
        return getattr(self, verb)(*positional, **named)

    def attempt(self, verb: str, positional: Sequence[Any], named: dict[str, Any]) -> list[Any]:
        """One verb, for itself: `[result, None]`, or `[None, why]`, and the calls after it are made all the same."""
        try:
            return [self._perform(verb, positional, named), None]
        except OSError as error:
            return [None, error.strerror or str(error)]
        except Exception as error:  # a kernel that answers otherwise than expected must not hide the other answers
            return [None, repr(error)]

    def read(self, node: int, what: str) -> list[Any]:
        """One kind of thing that is configured in a node, by the name of its reading (READINGS)."""
        if what not in READINGS:
            raise OSError(errno.EINVAL, f"{what} cannot be read; there are {', '.join(READINGS)}")
        return list(READINGS[what](self._nodes[node].transport()))

    def configured(self, node: int) -> dict[str, list[dict[str, Any]]]:
        """What is configured in a node, by reading, without what changes by itself (`configured.read`)."""
        return configured.read(self._nodes[node].transport())

    def fingerprint(self, node: int, sysctls: Sequence[str]) -> str:
        """One word for what is configured in a node, its firewalls and parameters included (`configured`)."""
        held = self._nodes[node]
        with held.stack.entered():
            others = [*held.rulesets.parts(), *held.sysctls.values(sysctls)]
            return configured.fingerprint(held.transport(), others)

    def device_to(self, node: int, to: str, source: str = "", device: str = "") -> str:
        """The device by which a packet to an address leaves the node (`routing.device_to`)."""
        with self._nodes[node].stack.entered():
            return routing.device_to(self._nodes[node].transport(), to, source, device)

    def sysctl_read(self, node: int, names: Sequence[str]) -> dict[str, str | None]:
        """Values by name; None where this kernel has no such parameter."""
        values: dict[str, str | None] = {}
        with self._nodes[node].stack.entered():
            for name in names:
                try:
                    values[name] = procfs.read_sysctl(name)
                except FileNotFoundError:
                    values[name] = None
        return values

    def counters(self, node: int) -> dict[str, int]:
        with self._nodes[node].stack.entered():
            return procfs.counters()

    def read_net(self, node: int, name: str, words: Sequence[str] | None = None) -> str:
        """A file of /proc/net as text, or its lines that hold any of the words; empty when this kernel has none."""
        with self._nodes[node].stack.entered():
            return procfs.read_net(name, words)

    def multicast_router(self, node: int) -> dict[str, Any]:
        """Interfaces and processes of a node's multicast router (`mroute.router`)."""
        with self._nodes[node].stack.entered():
            return mroute.router()

    def tunnels_elsewhere(self, node: int) -> list[dict[str, Any]]:
        """The node's tunnels whose devices are in other network namespaces (`elsewhere.tunnels`)."""
        with self._nodes[node].stack.entered():
            return foreign_namespaces.tunnels()

    def firewall(self, node: int) -> list[dict[str, Any]]:
        """Every rule and chain policy of every firewall in use in a node, with counters (`firewalls.read`)."""
        from lab.agent.firewall import firewalls

        with self._nodes[node].stack.entered():
            return firewalls.read()

    def named_at_boot(self, node: int, words: Sequence[str], firewalls: bool = False) -> list[dict[str, Any]]:
        """Which files that a boot may read name something (`boot_files.naming`)."""
        from lab.agent.boot import files

        return files.naming(words, firewalls=firewalls)

    def manager_at_boot(self, node: int, nic: str) -> str:
        """The tool that makes the machine's network at boot (`boot_manager.manager`)."""
        from lab.agent.boot import manager

        return manager.manager(nic)

    def firewalld(self, node: int) -> dict[str, Any]:
        """What firewalld accepts now and after its next start (`firewalld.read`)."""
        from lab.agent.firewall import firewalld

        with self._nodes[node].stack.entered():
            return firewalld.read()

    def copied_at_boot(self, node: int, words: Sequence[str]) -> dict[str, Any]:
        """The files by which a boot makes the machine's network (`boot_copy.copied`)."""
        from lab.agent.boot import copy

        return copy.copied(words)

    def examine(self, node: int, modules: Sequence[str], sysctls: Sequence[str]) -> dict[str, Any]:
        """What a live host has and how it is set up (`prerequisites.examine`); changes nothing."""
        from lab.agent import prerequisites

        with self._nodes[node].stack.entered():
            return prerequisites.examine(modules, sysctls)

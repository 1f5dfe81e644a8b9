"""
An overlay as a graph: tunnels between any two hosts, and the paths that a packet may take through them.

    star        spoke1 --- hub --- spoke2             the hub's bridge forwards: one path of two tunnels
    mesh        every host has a tunnel to every other; no port forwards to another: one path of one tunnel
    two hubs    spoke1 === hub, hub2 === spoke2       two paths
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class End:
    """One end of a tunnel: a host and its device there."""

    host: str
    device: str


@dataclass(frozen=True)
class Tunnel:
    """A tunnel between two hosts; `number` is its VXLAN network identifier."""

    ends: tuple[End, End]
    number: int

    @classmethod
    def between(cls, number: int, **devices: str) -> Tunnel:
        """The tunnel between two hosts, from its device on either: `between(1, hub="gretap1", spoke1="gretap1")`."""
        one, other = (End(host, device) for host, device in devices.items())
        return cls((one, other), number)

    @property
    def hops(self) -> tuple[Hop, Hop]:
        """Both directions."""
        one, other = self.ends
        return Hop(self, one, other), Hop(self, other, one)


@dataclass(frozen=True)
class Hop:
    """A tunnel in one direction: a packet leaves `start` and arrives at `end`."""

    tunnel: Tunnel
    start: End
    end: End


HopPath = tuple[Hop, ...]


class Graph:
    """The hops from each host, and the paths that `forwarders` make of them."""

    def __init__(self, tunnels: Sequence[Tunnel], forwarders: Collection[str]) -> None:
        self.hops: dict[str, dict[str, list[Hop]]] = {}
        """Hops by the host that they start at and the one that they lead to."""
        for hop in (hop for tunnel in tunnels for hop in tunnel.hops):
            self.hops.setdefault(hop.start.host, {}).setdefault(hop.end.host, []).append(hop)
        self._forwarders = frozenset(forwarders)
        self._forwarding = {start: [via for via in there if via in forwarders] for start, there in self.hops.items()}

    def paths(self, sender: str, receiver: str) -> tuple[HopPath, ...]:
        """Every path without a circle from one host to another; all hosts between them forward."""
        return tuple(self._from(sender, receiver, (), frozenset((sender, receiver))))

    def flooded(self, first: Iterable[Hop]) -> list[Hop]:
        """Every hop of a broadcast that leaves a host by these: a host that forwards copies it to its other tunnels."""
        found: dict[Hop, None] = {}
        waiting = list(first)
        while waiting:
            hop = waiting.pop()
            if hop in found:
                continue
            found[hop] = None
            if hop.end.host in self._forwarders:
                onwards = [further for there in self.hops[hop.end.host].values() for further in there]
                waiting += [further for further in onwards if further.tunnel is not hop.tunnel]
        return list(found)

    def _from(self, here: str, receiver: str, before: HopPath, passed: frozenset[str]) -> Iterator[HopPath]:
        there = self.hops.get(here, {})
        for hop in there.get(receiver, ()):
            yield (*before, hop)
        for via in self._forwarding.get(here, ()):
            if via not in passed:
                for hop in there[via]:
                    yield from self._from(via, receiver, (*before, hop), passed | {via})

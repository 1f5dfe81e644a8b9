"""
Fences: unicast datagrams that leave a sender after what it sent, on the same legs.

When a fence has arrived, what was sent before it and has not arrived is lost: absence is proved in milliseconds instead
of waited for.  Where it cannot go (the overlay itself is broken) markers on the underlay show that nothing more is on
its way (`markers`), and the receiver is listed in `unproved`.  GRACE bounds the wait where they cannot go either.
Fences are IPv4, whatever was sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from lab.machines.base import Agent, Call, call
from lab.machines.node import Node, ask_all, ask_in_turn
from lab.machines.sockets import fresh_handle
from lab.model import Network, Topology
from lab.probes import markers, options
from lab.probes.deadlines import Flow, Lost
from lab.probes.payloads import fresh_port, unique

GRACE = 0.5
"""Seconds that a fence, or a marker, may take: less than a millisecond in a lab, more on a busy machine."""
ANY = ""

Asked = tuple[Node, Call[Any]]
Pair = tuple[str, str]
"""The sender and the receiver of a fence."""


class Fences:
    """The fences of one listening: a socket for them on each of its hosts, and which of them did not arrive."""

    def __init__(
        self, nodes: Mapping[str, Node], topology: Topology, network: Network, grace: float, lost: Lost
    ) -> None:
        self._nodes, self._plans, self._topology, self._network = nodes, topology.plans, topology, network
        self.grace = markers.bound(grace, nodes.values())
        """Seconds that a fence may take."""
        self._lost = lost
        self._port = fresh_port()
        self.sockets: dict[str, int] = {}
        self.unproved: set[Pair] = set()
        self._tokens: dict[str, list[bytes]] = {}

    def opening(self, names: Iterable[str]) -> list[Asked]:
        """The calls that open the sockets."""
        self.sockets = {name: fresh_handle() for name in names}
        bound = [ANY, self._port]
        return [
            (self._nodes[name], self._nodes[name].call(Agent.open, handle, **options.UDP, bind=bound))
            for name, handle in self.sockets.items()
        ]

    def send(
        self,
        pairs: Sequence[Pair],
        ways: Iterable[Pair],
        then: Sequence[Asked] = (),
        collecting: Sequence[Asked] = (),
    ) -> tuple[list[Any], list[Any] | None]:
        """
        Sends fences and waits for them; `ways` are the legs of the underlay on which taps see markers.

        Returns what the calls `then` come to, and what those of `collecting` do, if there are any.
        """
        awaited = [(name, unique()) for _, name in pairs]
        calls: list[Asked] = [
            (self._nodes[sender], self._fence(sender, name, token))
            for (sender, _), (name, token) in zip(pairs, awaited, strict=True)
        ]
        for name, token in awaited:
            self._tokens.setdefault(name, []).append(token)
        # one wait for all the fences of a kernel, and one for those that are known to be lost, in one round trip
        together = markers.one_kernel(self._nodes.values())
        groups: dict[tuple[str, float], list[int]] = {}
        for number, pair in enumerate(pairs):
            at = pairs[0][0] if together else pair[1]
            groups.setdefault((at, self.grace_for([pair])), []).append(number)
        legs: Sequence[Any] = ()
        if together and groups:
            legs = markers.legs(ways, dict(self._nodes), self._topology, self._port, self._lost)
        waits = []
        for (at, grace), own in sorted(groups.items(), key=lambda group: group[0][1], reverse=True):
            wait = self._wait([awaited[number] for number in own], grace, legs)
            waits.append(([pairs[number] for number in own], self._nodes[at], wait))
        asked = [*calls, *((node, wait) for _, node, wait in waits), *then]
        answers, collected = ask_in_turn(asked, collecting) if collecting else (ask_all(asked), None)
        missing = answers[len(calls) : len(calls) + len(waits)]
        for (fenced, _, _), positions in zip(waits, missing, strict=True):
            self.unproved |= {fenced[position] for position in positions}
        return answers[len(calls) + len(waits) :], collected

    def waiting_again(self, seconds: float) -> list[Asked]:
        """The calls that wait once more for the fences that did not arrive."""
        late = sorted({name for _, name in self.unproved})
        each = {name: [(name, token) for token in self._tokens[name]] for name in late}
        if markers.one_kernel(self._nodes.values()):
            together = [fence for fences in each.values() for fence in fences]
            return [(self._nodes[next(iter(each))], self._wait(together, seconds))] if each else []
        return [(self._nodes[name], self._wait(fences, seconds)) for name, fences in each.items()]

    def may_arrive(self) -> bool:
        """Whether one that did not arrive may still come: it went by a path that is not known to lose everything."""
        return any(not self._lost.may_lose(Flow(self._network, "unicast", *pair)) for pair in self.unproved)

    def grace_for(self, pairs: Iterable[Pair]) -> float:
        """Seconds that fences between these hosts may take."""
        return self._lost.grace(self.grace, *(Flow(self._network, "unicast", *pair) for pair in pairs))

    def _wait(self, awaited: Sequence[tuple[str, bytes]], timeout: float, legs: Sequence[Any] = ()) -> Call[Any]:
        tokens = [[self.sockets[name], token] for name, token in awaited]
        return call(Agent.wait_for, tokens=tokens, timeout=timeout, legs=list(legs))

    def _fence(self, sender: str, receiver: str, token: bytes) -> Call[None]:
        to = [self._plans[receiver].address(self._network), self._port]
        device = None if sender == receiver else self._plans[sender].interface(self._network)
        return self._nodes[sender].call(Agent.send_fence, token, to, **options.UDP, device=device)


def legs(topology: Topology, network: Network, senders: Iterable[str], at: Iterable[str]) -> Iterator[Pair]:
    """The legs of the underlay that carry what hosts send to others."""
    receivers = list(at)
    for sender in dict.fromkeys(senders):
        for name in receivers:
            yield from markers.legs_between(topology, network, sender, name)

"""
Listening: sockets that are bound and taps that are live before anything is sent, and a fence after it.

    with listen(nodes) as heard:      every socket is bound, every capture runs
        sender.udp.send(to=everyone)
    heard.exactly_once(at=nodes)      whatever was on its way has arrived, or never will

The sockets are those of `receivers`, the fences those of `fences`, the comparison is that of `judgement`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

from lab.errors import CheckFailed, FramesLost, RootNeeded, TooSlow
from lab.machines.base import Agent, Call, call, settle_all
from lab.machines.node import Node, ask_all, do_all, in_order, tell_all
from lab.machines.sockets import fresh_handle
from lab.model import Topology
from lab.output.steps import STEPS
from lab.probes import fences, judgement, markers
from lab.probes.capture import paths, sightings
from lab.probes.capture.paths import Path
from lab.probes.datagrams import Datagram, Sent, stimulus
from lab.probes.deadlines import FASTER, Lost, Patience
from lab.probes.fences import GRACE, Fences
from lab.probes.payloads import tag_of
from lab.probes.receivers import Receivers
from lab.stack.records import Address

FEW = 16
"""Payloads whose frames are collected with every check."""


class Listening:
    """What the nodes receive on one UDP port, from the entry of the block on; `sockets` are `Receivers`' fields."""

    def __init__(
        self,
        nodes: dict[str, Node],
        topology: Topology,
        at: Sequence[str],
        *,
        tapped: Iterable[Node],
        grace: float = GRACE,
        patience: Patience | None = None,
        lost: Lost | None = None,
        on_entry: Callable[[Listening], None] = lambda listening: None,
        on_exit: Callable[[Listening], None] = lambda listening: None,
        **sockets: Any,
    ) -> None:
        self.at = tuple(at)
        self._receivers = Receivers(**{name: value for name, value in sockets.items() if value is not None})
        self.port, self.network = self._receivers.port, self._receivers.network
        self.sent: list[Sent] = []
        self.datagrams: dict[str, tuple[Datagram, ...]] = {}
        self.took = 0.0
        """Seconds until the fences had arrived, or were given up."""
        self.late: dict[str, tuple[Datagram, ...]] = {}
        """What came after the deadline, by node."""
        self._nodes, self._plans, self._topology = nodes, topology.plans, topology
        self._tapped = list(tapped)
        self._on_entry, self._on_exit, self._patience = on_entry, on_exit, patience
        self._fences = Fences(nodes, topology, self.network, grace, lost or Lost())
        self._link_locals: Mapping[str, Address] = {}
        self._sockets: dict[str, int] = {}
        self._frames: list[Any] | None = None
        """What the taps of the hosts saw, if it was collected after the fences."""

    # the block

    def __enter__(self) -> Listening:
        here = {name: self._nodes[name] for name in self.at}
        self._link_locals = self._receivers.link_locals(here, self._plans)
        fenced = dict.fromkeys([*self.at, *markers.forwarding(self._topology, self.network)])
        self._sockets = {name: fresh_handle() for name in self.at}
        calls: list[tuple[Node, Call[Any]]] = [
            (node, self._receivers.opening(node, self._sockets[name], self._plans[name], self._link_locals))
            for name, node in here.items()
        ]
        calls += self._fences.opening(fenced)
        # a live host captures from the beginning of the test on: for that alone it is asked nothing
        ready = [node for node in self._tapped if not node.read_only or node.name in fenced]
        calls += [(node, call(Agent.tap_ready, nodes=[node.handle])) for node in ready]
        do_all(calls)
        groups = f", members of {', '.join(self.joined)}" if self.joined else ""
        STEPS.note("arrange", f"{', '.join(self.at)} listen on UDP port {self.port} ({self.network}){groups}")
        self._on_entry(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._gather()
            else:  # a refusal of what was sent is not to be raised by another test's request
                with contextlib.suppress(OSError):
                    settle_all(node.machine for node in self._nodes.values())
        finally:
            # until the check decides whether a missing datagram matters, it may still arrive
            if kind is not None or not self._may_wait():
                self.close()
            self._on_exit(self)

    def close(self) -> None:
        """Closes the sockets, unless that has been done."""
        each = (self._sockets, self._fences.sockets)
        opened = [(name, endpoint) for sockets in each for name, endpoint in sockets.items()]
        self._sockets, self._fences.sockets = {}, {}
        closing = [(self._nodes[name], call(Agent.close, endpoints=[endpoint])) for name, endpoint in opened]
        tell_all(closing, delayed=not in_order(self._nodes.values()))

    def _may_wait(self) -> bool:
        return self._patience is not None and self._patience.left > 0 and self._fences.may_arrive()

    def _gather(self) -> None:
        senders = list(dict.fromkeys(sent.node for sent in self.sent))
        *before, last = markers.stages(self._topology, self.network, senders, self.at)
        takes = [(self._nodes[name], call(Agent.take, endpoints=[self._sockets[name]])) for name in self.at]
        began = time.monotonic()
        # a marker is seen by the taps
        ways = list(fences.legs(self._topology, self.network, senders, self.at)) if self._tapped else []
        for pairs in before:
            self._fences.send(pairs, ways)
        answers, self._frames = self._fences.send(last, ways, takes, self._collecting(senders))
        self.took = time.monotonic() - began
        self.datagrams = {
            name: tuple(Datagram.of(received) for received in answer[0])
            for name, answer in zip(self.at, answers, strict=True)
        }
        STEPS.note("received", ", ".join(f"{name} {len(heard)}" for name, heard in self.datagrams.items()))

    def _collecting(self, senders: Sequence[str]) -> list[tuple[Node, Call[Any]]]:
        """
        The calls for what the taps saw, if that saves a round trip and is all that they will see of what was sent.

        It is where fences come to every host.
        """
        tags = self._tags()
        reached = {*senders, *self.at, markers.centre_of(self._topology, self.network)}
        if markers.one_kernel(self._nodes.values()) or not in_order(self._nodes.values()):
            return []
        return sightings.collecting(self._tapped, tags) if reached >= set(self._nodes) and len(tags) <= FEW else []

    def _tags(self) -> list[bytes]:
        return [tag_of(payload) for sent in self.sent for payload in sent.payloads]

    def _wait_for_late(self, patience: Patience) -> None:
        """Waits once more for the fences that did not arrive, and takes what came meanwhile."""
        self._frames = None
        came: list[object] = []
        with patience.waiting(came) as seconds:
            waits = self._fences.waiting_again(seconds)
            takes = [(self._nodes[name], call(Agent.take, endpoints=[self._sockets[name]])) for name in self.at]
            answers = ask_all([*waits, *takes])[len(waits) :]
            taken = {name: tuple(map(Datagram.of, answer[0])) for name, answer in zip(self.at, answers, strict=True)}
            self.late = {name: datagrams for name, datagrams in taken.items() if datagrams}
            came.extend(self.late)
        self.close()

    def replaced(self, name: str, node: Node) -> None:
        """Another node has a host's place on the network from now on; sockets that are open stay where they are."""
        self._nodes[name] = node

    def leave(self, *at: str) -> None:
        """The sockets of these nodes leave their groups, inside the block."""
        for name in at:
            chosen = self._receivers.memberships(self._plans[name], self._link_locals, join=False)
            node = self._nodes[name]
            do_all([(node, call(Agent.set_option, self._sockets[name], *each)) for each in chosen])

    @property
    def joined(self) -> tuple[str, ...]:
        """The groups that the sockets are members of."""
        return self._receivers.joined

    # what was heard

    @property
    def unproved(self) -> frozenset[str]:
        """The hosts at which a fence did not arrive."""
        return frozenset(name for _, name in self._fences.unproved)

    @property
    def payloads(self) -> dict[str, list[bytes]]:
        return {name: [datagram.payload for datagram in heard] for name, heard in self.datagrams.items()}

    def one(self, at: str) -> Datagram:
        """The one datagram that a node heard; CheckFailed when it heard none or several."""
        self.exactly_once(at=[at])
        return self.datagrams[at][0]

    def exactly_once(self, at: Collection[str]) -> None:
        """Each of the nodes received every payload of hosts with a path to it once, unaltered, and nothing else."""
        self._check(dict.fromkeys(at, 1))

    def nothing(self, at: Collection[str]) -> None:
        """None of the nodes heard anything."""
        self._check(dict.fromkeys(at, 0))

    def copies(self, expected: dict[str, int]) -> None:
        """Each node received every payload that was sent the given number of times."""
        self._check(expected)

    def _check(self, expected: dict[str, int]) -> None:
        with STEPS.expecting(judgement.wanted(expected)):
            self._judge(expected)

    def _judge(self, expected: dict[str, int]) -> None:
        if not any(stimulus.payloads for stimulus in self.sent):
            raise CheckFailed("nothing was sent inside the block: there is nothing to judge")
        problems = {name: self._problems(name, copies) for name, copies in expected.items()}
        if any(problems.values()) and self._sockets and self._patience is not None:
            self._wait_for_late(self._patience)
            problems = {name: self._problems(name, copies) for name, copies in expected.items()}
        said = [problem.line for each in problems.values() for problem in each]
        if said and all(problem.late for each in problems.values() for problem in each):
            raise TooSlow("\n".join([stimulus(self.sent, self.network), *said]), remedy=FASTER)
        if said:
            try:
                followed = self.paths(expected)
                seen = self._seen([path for path in followed if problems[path.receiver]])
            except FramesLost as incomplete:  # that it is missing is known, and not where it was lost
                followed, seen = [], [f"  seen: not known, because {incomplete.message}"]
            first = [path.problem for path in followed if path.problem][:1] or [said[0].strip()]
            text = "\n".join([*first, stimulus(self.sent, self.network), *said, *seen])
            missing = [name for name, each in problems.items() if each]
            own = [path.data() for path in self._own_copies(expected) if path.receiver in missing]
            raise CheckFailed(text, paths=[path.data() for path in followed], unfollowed=own)

    def _problems(self, name: str, copies: int) -> list[judgement.Problem]:
        in_time, late = ([each.payload for each in heard] for heard in (self.datagrams[name], self.late.get(name, ())))
        sent = [one for one in self.sent if self._topology.connects(one.node, name, self.network)] or self.sent
        return judgement.problems(name, copies, sent, in_time, late, f"{self._fences.grace * 1000:.0f} ms")

    def lost(self) -> list[tuple[str, str]]:
        """Sender and receiver of every datagram that one of the hosts did not hear, whether or not it was to."""
        heard = {name: set(payloads) for name, payloads in self.payloads.items()}
        return [
            (sent.node, name)
            for sent in self.sent
            for name, payloads in heard.items()
            if name != sent.node and not payloads.issuperset(sent.payloads)
        ]

    def paths(self, expected: Mapping[str, int] | None = None, payloads: Collection[bytes] = ()) -> list[Path]:
        """How far what was sent, or these payloads, came on the way to each node; none where nothing is captured."""
        if not self._tapped or not self.sent:
            return []
        heard = {name: self.datagrams.get(name, ()) for name in self.at if expected is None or name in expected}
        one_clock = markers.one_kernel(self._nodes.values())
        seen = self.sightings()
        sent = (self._topology, self.sent, self.network)
        return paths.paths(*sent, heard, seen, one_clock=one_clock, expected=expected, payloads=payloads)

    def _own_copies(self, expected: Mapping[str, int]) -> list[Path]:
        """What the senders were to receive of their own: no interface sees how far that comes."""
        addresses = {plan.address(of) for plan in self._plans.values() for of in paths.NETWORKS}
        return [
            Path(
                *(one.node, one.node, f"{one.to}:{one.port}", (), expected[one.node], received.count(payload)),
                *(paths.kind_of(one.to, addresses), self.network, len(payload)),
            )
            for one in self.sent
            if one.node in expected
            for payload in one.payloads
            for received in [self.payloads[one.node]]
        ]

    def _seen(self, followed: Sequence[Path]) -> list[str]:
        """The paths to the nodes that did not hear what they must; where none can be followed, every place seen."""
        if followed:
            lines = [f"  {path}" for path in followed]
        else:
            seen = sightings.path(self.sightings()) if self._tapped else "not captured, which needs root"
            lines = [f"  seen: {seen}"]
        if self.unproved:
            lines.append(
                f"  unicast on the same path did not arrive within {self._fences.grace * 1000:.0f} ms either: "
                + ", ".join(f"{sender} to {receiver}" for sender, receiver in sorted(self._fences.unproved))
            )
        return lines

    def sightings(self) -> list[sightings.Sighting]:
        """
        Where the frames of what was sent were seen, in order of kernel time.

        RootNeeded without captures, FramesLost where they are not complete.
        """
        if not self._tapped:
            raise RootNeeded("captures")
        tags, port = self._tags(), self._topology.options.port
        if self._frames is not None:
            seen = sightings.collected(self._tapped, self._frames, vxlan_port=port)
        else:
            seen = sightings.collect(self._tapped, tags, vxlan_port=port) if tags else []
        return paths.of_hosts(self._topology, seen)

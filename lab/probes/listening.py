"""
Listening: sockets that are bound and taps that are live before anything is sent, and a fence after it.

    with listen(nodes) as heard:      every socket is bound, every capture runs
        sender.udp.send(to=everyone)
    heard.exactly_once(at=nodes)      whatever was on its way has arrived, or never will

A fence is a unicast datagram that leaves the sender after the stimulus, on the same legs.  When it has arrived, what
was sent before it and has not arrived is lost: absence is proved in milliseconds instead of waited for.  Where it
cannot go (the overlay itself is broken) markers on the underlay tell that nothing more is on its way (`markers`), and
the node is listed in `unproved`.  FENCE_GRACE bounds the wait where they cannot go either.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal

from lab.errors import CheckFailed, FramesLost, RootNeeded, TooSlow
from lab.machines.base import Agent, Call, call, settle_all
from lab.machines.node import Node, ask_all, ask_in_turn, do_all, in_order, tell_all
from lab.machines.sockets import fresh_handle
from lab.model import Network, NodePlan, Topology
from lab.probes import ipv6, judgement, markers, options, sightings, ways
from lab.probes.datagrams import Datagram, Sent, stimulus
from lab.probes.patience import Lost, Patience, Way
from lab.probes.payloads import fresh_port, tag_of, unique
from lab.records import Address
from lab.steps import STEPS

FENCE_GRACE = 0.5
"""Seconds that a fence, or a marker, may take: less than a millisecond in a lab, more on a busy machine."""
ANY = ""
FEW = 16
"""Payloads whose frames are collected with every check."""
FASTER = "use a less loaded host or a faster path; no packets were lost"


class Listening:
    """
    What the nodes hear on one UDP port, from the entry of the block on.

    `group` is one group or several, joined on the interface with the address `interface` (default: the network's own;
    0.0.0.0 leaves it to the routing table), from `source` alone if one is named, not at all with `join=False`.  A
    socket is bound to its one group, to `bind`, or to any address.  `share` lets several sockets have the port, by
    SO_REUSEADDR or SO_REUSEPORT; `all_groups` sets IP_MULTICAST_ALL (several groups: off).  A group of IPv6 is
    joined on the overlay's device; fences are IPv4 all the same, on the same way.
    """

    def __init__(
        self,
        nodes: dict[str, Node],
        topology: Topology,
        at: Sequence[str],
        *,
        tapped: Iterable[Node],
        port: int | None = None,
        network: Network = "overlay",
        group: str | Sequence[str] | None = None,
        join: bool = True,
        source: str | None = None,
        bind: str | None = None,
        interface: str | None = None,
        share: Literal["address", "port"] = "address",
        all_groups: bool | None = None,
        grace: float = FENCE_GRACE,
        patience: Patience | None = None,
        lost: Lost | None = None,
        on_entry: Callable[[Listening], None] = lambda listening: None,
        on_exit: Callable[[Listening], None] = lambda listening: None,
    ) -> None:
        self.at = tuple(at)
        self.port = fresh_port() if port is None else port
        self.network: Network = network
        self.sent: list[Sent] = []
        self.datagrams: dict[str, tuple[Datagram, ...]] = {}
        self._unproved: set[tuple[str, str]] = set()
        """Sender and receiver of each fence that did not arrive."""
        self.took = 0.0
        """Seconds until the fences had arrived, or were given up."""
        self.late: dict[str, tuple[Datagram, ...]] = {}
        """What came after the deadline, by node."""
        self._nodes, self._plans, self._topology = nodes, topology.plans, topology
        self._tapped = list(tapped)
        self._groups = (group,) if isinstance(group, str) else tuple(group or ())
        self._joined = self._groups if join else ()
        self._bind, self._source, self._interface = bind, source, interface
        self._share, self._all_groups = share, all_groups
        self._grace, self._on_entry, self._on_exit = markers.bound(grace, nodes.values()), on_entry, on_exit
        self._patience, self._lost = patience, lost or Lost()
        self._is_ipv6 = bool(self._groups) and options.is_ipv6(self._groups[0])
        self._link_locals: dict[str, Address] = {}
        self._sockets: dict[str, int] = {}
        self._fences: dict[str, int] = {}
        self._fence_port = fresh_port()
        self._frames: list[Any] | None = None
        """What the taps of the hosts saw, if it was collected after the fences."""
        self._tokens: dict[str, list[bytes]] = {}

    # the block

    def __enter__(self) -> Listening:
        if self._is_ipv6:
            here = {name: self._nodes[name] for name in self.at}
            self._link_locals = ipv6.link_locals(here, self._plans, self.network)
        fenced = dict.fromkeys([*self.at, *markers.forwarding(self._topology, self.network)])
        self._sockets = {name: fresh_handle() for name in self.at}
        self._fences = {name: fresh_handle() for name in fenced}
        calls: list[tuple[Node, Call[Any]]] = [(self._nodes[name], self._receiver(name)) for name in self.at]
        bound = [ANY, self._fence_port]
        for name, node in ((name, self._nodes[name]) for name in fenced):
            calls.append((node, node.call(Agent.open, self._fences[name], **options.UDP, bind=bound)))
        # a live host captures from the beginning of the test on: for that alone it is asked nothing
        ready = [node for node in self._tapped if not node.read_only or node.name in fenced]
        calls += [(node, call(Agent.tap_ready, nodes=[node.handle])) for node in ready]
        do_all(calls)
        groups = f", members of {', '.join(self._joined)}" if self._joined else ""
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
        opened = [(name, endpoint) for each in (self._sockets, self._fences) for name, endpoint in each.items()]
        self._sockets, self._fences = {}, {}
        closing = [(self._nodes[name], call(Agent.close, endpoints=[endpoint])) for name, endpoint in opened]
        tell_all(closing, delayed=not in_order(self._nodes.values()))

    def _may_wait(self) -> bool:
        if self._patience is None or self._patience.left <= 0:
            return False
        return any(not self._lost.may_lose(Way(self.network, "unicast", *pair)) for pair in self._unproved)

    def _receiver(self, name: str) -> Call[int]:
        chosen = [options.REUSE_ADDRESS if self._share == "address" else options.REUSE_PORT]
        all_groups = False if self._all_groups is None and len(self._groups) > 1 else self._all_groups
        if all_groups is not None and not self._is_ipv6:
            chosen.append(options.multicast_all(all_groups))
        bind = self._bind
        if bind is None:
            # bound to the group, a socket receives no other groups, even if the host joined them (MCAST-10)
            bind = self._groups[0] if len(self._groups) == 1 else ANY
        kind, late = options.UDP6 if self._is_ipv6 else options.UDP, self._memberships(self._plans[name], join=True)
        bound = [bind, self.port]
        return self._nodes[name].call(
            Agent.open, self._sockets[name], **kind, options=chosen, bind=bound, late_options=late
        )

    def _memberships(self, plan: NodePlan, *, join: bool) -> list[options.Option]:
        if self._is_ipv6:
            index = ipv6.required(self._link_locals, plan.name, plan).index
            return [options.membership6(group, index, join=join) for group in self._joined]
        where = plan.address(self.network) if self._interface is None else self._interface
        return [options.membership(group, where, self._source, join=join) for group in self._joined]

    def _gather(self) -> None:
        senders = list(dict.fromkeys(sent.node for sent in self.sent))
        *before, last = markers.stages(self._topology, self.network, senders, self.at)
        takes = [(self._nodes[name], call(Agent.take, endpoints=[self._sockets[name]])) for name in self.at]
        began = time.monotonic()
        for pairs in before:
            self._pass_fences(pairs)
        answers = self._pass_fences(last, takes, self._collecting(senders))
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

    def _pass_fences(
        self,
        pairs: Sequence[tuple[str, str]],
        then: Sequence[tuple[Node, Call[Any]]] = (),
        collecting: Sequence[tuple[Node, Call[Any]]] = (),
    ) -> list[Any]:
        """Sends fences and waits for them; returns what the calls `then` come to, and collects what taps saw."""
        awaited = [(name, unique()) for _, name in pairs]
        calls: list[tuple[Node, Call[Any]]] = [
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
            groups.setdefault((at, self._grace_for([pair])), []).append(number)
        legs: Sequence[Any] = ()
        if together and groups:
            # a marker is seen by the taps
            ways = self._ways() if self._tapped else ()
            legs = markers.legs(ways, self._nodes, self._topology, self._fence_port, self._lost)
        waits = []
        for (at, grace), own in sorted(groups.items(), key=lambda group: group[0][1], reverse=True):
            wait = self._wait([awaited[number] for number in own], grace, legs)
            waits.append(([pairs[number] for number in own], self._nodes[at], wait))
        asked = [*calls, *((node, wait) for _, node, wait in waits), *then]
        if collecting:
            answers, self._frames = ask_in_turn(asked, collecting)
        else:
            answers = ask_all(asked)
        missing = answers[len(calls) : len(calls) + len(waits)]
        for (fenced, _, _), positions in zip(waits, missing, strict=True):
            self._unproved |= {fenced[position] for position in positions}
        return answers[len(calls) + len(waits) :]

    def _wait(self, awaited: Sequence[tuple[str, bytes]], timeout: float, legs: Sequence[Any] = ()) -> Call[Any]:
        tokens = [[self._fences[name], token] for name, token in awaited]
        return call(Agent.wait_for, tokens=tokens, timeout=timeout, legs=list(legs))

    def _wait_for_late(self, patience: Patience) -> None:
        """Waits once more for the fences that did not arrive, and takes what came meanwhile."""
        self._frames = None
        each = {name: [(name, token) for token in self._tokens[name]] for name in sorted(self.unproved)}
        came: list[object] = []
        with patience.waiting(came) as seconds:
            if markers.one_kernel(self._nodes.values()):
                together = [fence for fences in each.values() for fence in fences]
                waits = [(self._nodes[next(iter(each))], self._wait(together, seconds))]
            else:
                waits = [(self._nodes[name], self._wait(fences, seconds)) for name, fences in each.items()]
            takes = [(self._nodes[name], call(Agent.take, endpoints=[self._sockets[name]])) for name in self.at]
            answers = ask_all([*waits, *takes])[len(waits) :]
            taken = {name: tuple(map(Datagram.of, answer[0])) for name, answer in zip(self.at, answers, strict=True)}
            self.late = {name: datagrams for name, datagrams in taken.items() if datagrams}
            came.extend(self.late)
        self.close()

    def _grace_for(self, pairs: Iterable[tuple[str, str]]) -> float:
        return self._lost.grace(self._grace, *(Way(self.network, "unicast", *pair) for pair in pairs))

    def _ways(self) -> Iterator[tuple[str, str]]:
        """The legs of the underlay that carry what was sent."""
        for sender in dict.fromkeys(sent.node for sent in self.sent):
            for name in self.at:
                yield from markers.legs_between(self._topology, self.network, sender, name)

    def _fence(self, sender: str, receiver: str, token: bytes) -> Call[None]:
        to = [self._plans[receiver].address(self.network), self._fence_port]
        device = None if sender == receiver else self._plans[sender].interface(self.network)
        return self._nodes[sender].call(Agent.send_fence, token, to, **options.UDP, device=device)

    def replaced(self, name: str, node: Node) -> None:
        """Another node has a host's place on the network from now on; sockets that are open stay where they are."""
        self._nodes[name] = node

    def leave(self, *at: str) -> None:
        """The sockets of these nodes leave their groups, inside the block."""
        for name in at:
            chosen = self._memberships(self._plans[name], join=False)
            node = self._nodes[name]
            do_all([(node, call(Agent.set_option, self._sockets[name], *each)) for each in chosen])

    @property
    def joined(self) -> tuple[str, ...]:
        """The groups that the sockets are members of."""
        return self._joined

    # what was heard

    @property
    def unproved(self) -> frozenset[str]:
        """The hosts at which a fence did not arrive."""
        return frozenset(name for _, name in self._unproved)

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
            raise CheckFailed(text, paths=[path.data() for path in followed])

    def _problems(self, name: str, copies: int) -> list[judgement.Problem]:
        in_time, late = ([each.payload for each in heard] for heard in (self.datagrams[name], self.late.get(name, ())))
        sent = [one for one in self.sent if self._topology.connects(one.node, name, self.network)] or self.sent
        return judgement.problems(name, copies, sent, in_time, late, f"{self._grace * 1000:.0f} ms")

    def lost(self) -> list[tuple[str, str]]:
        """Sender and receiver of every datagram that one of the hosts did not hear, whether or not it was to."""
        heard = {name: set(payloads) for name, payloads in self.payloads.items()}
        return [
            (sent.node, name)
            for sent in self.sent
            for name, payloads in heard.items()
            if name != sent.node and not payloads.issuperset(sent.payloads)
        ]

    def paths(self, expected: Mapping[str, int] | None = None) -> list[ways.Path]:
        """How far what was sent came on its way to each node; none where nothing can be captured."""
        if not self._tapped or not self.sent:
            return []
        heard = {name: self.datagrams.get(name, ()) for name in self.at if expected is None or name in expected}
        one_clock = markers.one_kernel(self._nodes.values())
        seen = self.sightings()
        return ways.paths(self._topology, self.sent, self.network, heard, seen, one_clock=one_clock, expected=expected)

    def _seen(self, followed: Sequence[ways.Path]) -> list[str]:
        """The paths to the nodes that did not hear what they must; where none can be followed, every place seen."""
        if followed:
            lines = [f"  {path}" for path in followed]
        else:
            seen = sightings.path(self.sightings()) if self._tapped else "not captured, which needs root"
            lines = [f"  seen: {seen}"]
        if self.unproved:
            lines.append(
                f"  unicast on the same way did not arrive at {', '.join(sorted(self.unproved))} "
                f"within {self._grace * 1000:.0f} ms either"
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
        return ways.of_hosts(self._topology, seen)

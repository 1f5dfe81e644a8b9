"""
A load from one host to others: what arrives of a rate, how late, and where the rest was dropped.

    with Load(lab.nodes, lab.topology, "spoke1", ["hub", "spoke2"]) as load:
        trial = load.send("multicast", rate=20_000, seconds=0.5)
        trial.lost, trial.drops, trial.latency("spoke2")

A process of its own sends, and one for each receiver counts (`lab.agent.datagrams.workers`).  Times are the kernel's;
between live hosts, whose clocks differ, only their spread has a meaning.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from lab import groups
from lab.machines.base import call
from lab.machines.node import Agent, Node, ask_all
from lab.machines.sockets import Socket
from lab.model import Network, Topology
from lab.probes import options
from lab.probes.host_state import membership
from lab.probes.payloads import fresh_port
from lab.probes.performance import drops
from lab.probes.performance.drops import Drop

LoadKind = Literal["multicast", "broadcast", "unicast", "underlay"]
"""`underlay`: unicast on the underlay, for comparison."""
LoadWork = Literal["send", "receive", "hold"]
KINDS: tuple[LoadKind, ...] = get_args(LoadKind)
SIZE = 64  # octets of UDP payload
LEAST, LARGEST = 16, 8192
SAMPLES = 500  # datagrams of a trial whose latency is noted
SLACK = 10.0  # seconds beyond those that a trial must take: a busy machine
MOST = 1 << 20  # datagrams of one trial

_tags = itertools.count(1)


@dataclass(frozen=True)
class ReceiverResult:
    """
    What one receiver had of a trial, and how many datagrams its socket had no room for (`dropped`).

    `ran` and `waited` (for a processor) in seconds, as `busy`, what all processors of its host worked in between;
    `latencies` in ns by number.
    """

    received: int
    repeated: int
    dropped: int
    ran: float
    waited: float
    latencies: Mapping[int, int]
    busy: float = 0.0


@dataclass(frozen=True)
class RateTrial:
    """One rate that was tried; `wanted` is 0 for as fast as it goes, `seconds` what sending took."""

    kind: LoadKind
    wanted: float
    sent: int
    seconds: float
    ran: float
    waited: float
    heard: Mapping[str, ReceiverResult]
    drops: tuple[Drop, ...]

    @property
    def rate(self) -> float:
        """Datagrams that were sent in a second."""
        return self.sent / self.seconds if self.seconds else 0.0

    @property
    def lost(self) -> int:
        """Of the receiver that lost most."""
        return max(self.sent - one.received for one in self.heard.values())

    def cost(self, host: str) -> float:
        """Seconds of processor time, of the machine that a receiver is on, for each copy that was delivered."""
        copies = sum(one.received for one in self.heard.values())
        return self.heard[host].busy / copies if copies else 0.0

    def latency(self, percent: float) -> float:
        """The percentile of all receivers' latencies, in seconds."""
        late = sorted(late for one in self.heard.values() for late in one.latencies.values())
        return late[min(len(late) - 1, int(len(late) * percent / 100))] / 1e9 if late else 0.0

    def skew(self, percent: float) -> float:
        """The percentile of the time, in seconds, between the first and the last receiver of a datagram."""
        each = [one.latencies for one in self.heard.values()]
        common = set.intersection(*map(set, each)) if each else set()
        apart = sorted(max(late[number] for late in each) - min(late[number] for late in each) for number in common)
        return apart[min(len(apart) - 1, int(len(apart) * percent / 100))] / 1e9 if apart else 0.0


class Load:
    """
    The sockets and processes of a load, while the block lasts.

    `buffer` is SO_RCVBUF of the receivers in octets; None: 4 MiB where root may set that, else what the kernel allows.
    `reading=False`: they read nothing before all is sent.
    """

    def __init__(
        self,
        nodes: Mapping[str, Node],
        topology: Topology,
        sender: str,
        receivers: Sequence[str],
        *,
        size: int = SIZE,
        buffer: int | None = None,
        reading: bool = True,
    ) -> None:
        self._nodes, self._topology, self._sender, self._receivers = nodes, topology, sender, list(receivers)
        self._size, self._buffer = size, buffer
        self._work: LoadWork = "receive" if reading else "hold"
        # where sender and receivers share a machine, they would take turns on its processors by chance
        self._apart = all(nodes[name].machine is nodes[sender].machine for name in receivers)
        self._opened = contextlib.ExitStack()
        self._port, self._group = fresh_port(), groups.fresh()
        self._senders: dict[Network, int] = {}
        self._counting: dict[str, int] = {}

    def __enter__(self) -> Load:
        with contextlib.ExitStack() as opening:
            for network in ("overlay", "underlay"):
                address = self._topology.node(self._sender).address(network)
                sending = membership.sender(self._nodes[self._sender], address, bind=[address, 0])
                self._senders[network] = _worker(opening, sending, "send", self._apart)
            for name in self._receivers:
                room = [options.receive_buffer(self._buffer)] if self._buffer is not None else []
                plan = self._topology.node(name)
                listening = membership.receiver(self._nodes[name], plan, self._port, self._group, *room)
                self._counting[name] = _worker(opening, listening, self._work, self._apart)
            self._opened = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def target(self, kind: LoadKind) -> tuple[str, list[str]]:
        """The address that a kind of load goes to, and the receivers that it is for."""
        first = self._topology.node(self._receivers[0])
        if kind == "multicast":
            return self._group, self._receivers
        if kind == "broadcast":
            return self._topology.node(self._sender).broadcast(), self._receivers
        return first.address("underlay" if kind == "underlay" else "overlay"), [first.name]

    def send(self, kind: LoadKind, *, rate: float, seconds: float, count: int = MOST) -> RateTrial:
        """
        Sends for so many seconds at a rate in datagrams a second (0: as fast as it goes), `count` at most.

        OSError when the sender's kernel has no way to where it goes.
        """
        to, receivers = self.target(kind)
        count = min(count, int(rate * seconds)) if rate else count
        tag = next(_tags)
        node = self._nodes[self._sender]
        before = drops.read(self._nodes, self._topology)
        order = {"to": [to, self._port], "tag": tag, "rate": rate, "count": count, "size": self._size}
        worker = self._senders["underlay" if kind == "underlay" else "overlay"]
        (sent,) = _asked([(node, worker, {**order, "seconds": seconds})], seconds + SLACK)
        report = {"tag": tag, "sent": sent["sent"], "every": max(1, int(sent["sent"]) // SAMPLES)}
        answers = _asked([(self._nodes[name], self._counting[name], report) for name in receivers], SLACK)
        dropped = drops.between(before, drops.read(self._nodes, self._topology))
        heard = {name: _received(answer) for name, answer in zip(receivers, answers, strict=True)}
        return RateTrial(kind, rate, **sent, heard=heard, drops=dropped)


@contextlib.contextmanager
def feed(node: Node, address: str, to: tuple[str, int], *, rate: float, seconds: float) -> Iterator[None]:
    """Sends to a group and port at a rate for the length of the block, for `seconds` at most."""
    order = {"to": list(to), "tag": next(_tags), "rate": rate, "count": MOST, "size": SIZE, "seconds": seconds}
    with contextlib.ExitStack() as opening:
        worker = _worker(opening, membership.sender(node, address, bind=[address, 0]), "send")
        node.machine.batch([call(Agent.worker_order, worker, order)])
        yield


def _worker(opening: contextlib.ExitStack, opened: Socket, work: LoadWork, apart: bool = False) -> int:
    opening.enter_context(opened)
    (worker,) = opened.node.machine.batch([opened.call(Agent.worker_start, work, apart)])
    opening.callback(opened.node.machine.batch, [call(Agent.worker_end, [worker])])
    return worker


def _asked(orders: Sequence[tuple[Node, int, dict[str, Any]]], timeout: float) -> list[dict[str, Any]]:
    """The answers of workers to their orders."""
    ask_all([(node, call(Agent.worker_order, worker, order)) for node, worker, order in orders])
    return ask_all([(node, call(Agent.worker_answer, worker, timeout)) for node, worker, _ in orders])


def _received(answer: dict[str, Any]) -> ReceiverResult:
    fields = dict(answer)
    latencies = fields.pop("latencies")
    return ReceiverResult(**fields, latencies=dict(latencies))

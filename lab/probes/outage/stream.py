"""
An outage meter: a numbered stream from one host to all others, and what each of them missed of it.

    with Stream(lab.nodes, lab.topology, "spoke1", ["spoke2", "spoke3"]) as stream:
        stream.event("hub lost")
        ...                                     whatever is done to the lab
        stream.await_heard(within=2.0)          until every host receives everything again
    stream.outages()                            for each event, receiver and kind of traffic: silence, lost, ...

Broadcast, multicast and unicast are sent side by side with the same numbers.  Times are the kernel's.
"""

from __future__ import annotations

import contextlib
import time
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lab import groups
from lab.errors import CheckFailed, EnvironmentProblem, MachineLost
from lab.machines.base import Machine, call
from lab.machines.node import Agent, Node
from lab.machines.sockets import Socket
from lab.model import Topology
from lab.probes.host_state import membership
from lab.probes.outage.outages import KINDS, Arrivals, Outage, by_target, copies, judged
from lab.probes.payloads import fresh_port, tag_of, unique

RATE = 500.0
"""Numbers a second; each is sent once to broadcast, once to a group, and once to each receiver."""
SIZE = 100  # octets of a payload
GRACE = 5.0  # seconds that the last numbers may take on a busy machine; in practice some milliseconds
ASKED = 3  # times that a clock is read
MOST_COPIES = 100  # at a receiver; more are of a loop, which fills every buffer
SLACK = 5.0  # seconds beyond those that a stream must take: a busy machine


@dataclass(frozen=True)
class MachinePart:
    """What one machine does of a stream: sends it, receives it at some hosts, or both."""

    machine: Machine
    handle: int
    receivers: tuple[int, ...]
    """Their positions among all of the stream."""
    ahead: int
    """ns that its clock is ahead of the sender's."""


class Stream:
    """
    The stream, while the block lasts; `rate` in numbers a second, `size` in octets of UDP payload.

    Hosts may be on several machines.  `ends_in_loop`: it ends when frames circle, which keeps all machines busy for as
    long as they do (`looped`).  Of a receiver whose machine is `lost` meanwhile nothing is known.
    """

    def __init__(
        self,
        nodes: Mapping[str, Node],
        topology: Topology,
        sender: str,
        receivers: Sequence[str],
        *,
        rate: float = RATE,
        size: int = SIZE,
        ends_in_loop: bool = False,
    ) -> None:
        self._nodes, self._topology, self._sender, self._receivers = nodes, topology, sender, list(receivers)
        self._rate, self._size, self._ends_in_loop = rate, size, ends_in_loop
        self._machine = nodes[sender].machine
        self._opened = contextlib.ExitStack()
        self._parts: list[MachinePart] = []
        self._events: list[tuple[str, int]] = []
        self._sent: array[int] = array("Q")
        self._heard: dict[int, dict[int, Arrivals]] = {}
        self._dropped: dict[int, int] = {}
        self.lost: list[str] = []
        """The receivers whose machines were lost."""

    def __enter__(self) -> Stream:
        port, group, tag = fresh_port(), groups.fresh(), tag_of(unique())
        with contextlib.ExitStack() as opening:
            plan, plans = self._topology.node(self._sender), self._topology.plans
            at: dict[int, list[tuple[int, Socket]]] = {}
            for position, name in enumerate(self._receivers):
                made = opening.enter_context(membership.receiver(self._nodes[name], plans[name], port, group))
                at.setdefault(id(made.node.machine), []).append((position, made))
            sending = opening.enter_context(membership.sender(self._nodes[self._sender], plan.address()))
            targets = [(plan.broadcast(), port), (group, port)]
            targets += [(plans[name].address(), port) for name in self._receivers]
            own = at.pop(id(self._machine), [])
            clock = _clock(self._machine) if at else 0
            for there in at.values():
                machine = there[0][1].node.machine
                self._start(machine, None, [], there, tag, _clock(machine) - clock)
            self._start(self._machine, sending.handle, targets, own, tag, 0)
            self._opened = opening.pop_all()
        return self

    def _start(
        self,
        machine: Machine,
        sender: int | None,
        targets: Sequence[tuple[str, int]],
        receiving: Sequence[tuple[int, Socket]],
        tag: bytes,
        ahead: int,
    ) -> None:
        heard = [made.handle for _, made in receiving]
        parameters = (self._rate, self._size, self._ends_in_loop)
        (handle,) = machine.batch([call(Agent.stream_start, sender, targets, heard, tag, *parameters)])
        self._parts.append(MachinePart(machine, handle, tuple(position for position, _ in receiving), ahead))

    def __exit__(self, *_: object) -> None:
        try:
            with self._opened:
                self._machine.batch([call(Agent.stream_quiet, self._sending.handle)])
                self._heard_after(self.count() - 1, GRACE)
                for part in self._parts:
                    self._end(part)
        except MachineLost:
            if not self.lost or not self._sent:
                raise

    def _end(self, part: MachinePart) -> None:
        """Ends it, and keeps what was sent and received."""
        try:
            (result,) = part.machine.batch([call(Agent.stream_stop, part.handle)])
        except MachineLost:
            self._lose(part)
            return
        if part is self._sending:
            self._sent = array("Q", result["sent"])
        for position, each, dropped in zip(part.receivers, result["received"], result["dropped"], strict=True):
            self._heard[position] = by_target(each, part.ahead)
            self._dropped[position] = dropped

    @property
    def _sending(self) -> MachinePart:
        return self._parts[-1]

    def _lose(self, part: MachinePart) -> None:
        """Notes receivers whose machine is lost; without the sender's, nothing is known of any: MachineLost."""
        if part is self._sending:
            raise MachineLost(
                f"{self._sender}, the sender of the stream, was lost: the losses of the others are not known"
            )
        self.lost += [name for position in part.receivers if (name := self._receivers[position]) not in self.lost]

    # while it runs

    def event(self, name: str) -> None:
        """What happens next is counted under this name."""
        self._events.append((name, int(self._machine.hello()["time"])))

    def go_on(self, seconds: float) -> None:
        """Returns when so many seconds' worth of numbers have been sent."""
        wanted = self.count() + max(1, int(seconds * self._rate))
        self._machine.batch([call(Agent.stream_sent, self._sending.handle, wanted, seconds + SLACK)])

    def await_heard(self, within: float, *, at: Sequence[str] = ()) -> bool:
        """
        Waits until the receivers, or those of these names, hear of each kind what is sent from now on.

        False after `within` seconds.
        """
        return self._heard_after(self.count(), within, at)

    def looped(self) -> bool:
        """Whether it ended since frames circle: they do so until something is cut."""
        return any(part.machine.batch([call(Agent.stream_looped, part.handle)])[0] for part in self._parts)

    def count(self) -> int:
        """How many numbers have been sent."""
        return self._machine.batch([call(Agent.stream_sent, self._sending.handle, 0, 0.0)])[0]

    def _heard_after(self, number: int, within: float, at: Sequence[str] = ()) -> bool:
        done = True
        for part in self._parts:
            wanted = [
                self._targets(position) if not at or self._receivers[position] in at else []
                for position in part.receivers
            ]
            try:
                done &= part.machine.batch([call(Agent.stream_heard, part.handle, number, wanted, within)])[0]
            except MachineLost:
                self._lose(part)
        return done

    @staticmethod
    def _targets(position: int) -> list[int]:
        """The numbers of the targets that a receiver is concerned by, in the order of KINDS."""
        return [0, 1, 2 + position]

    # afterwards

    @property
    def sent(self) -> int:
        """How many numbers were sent."""
        return len(self._sent)

    def outages(self) -> list[Outage]:
        """
        For each event, receiver and kind of traffic; CheckFailed when nothing was heard before the first event.

        EnvironmentProblem when a receiver's socket overflowed, unless that was by copies: what it missed was delivered.
        """
        found = []
        for position, name in enumerate(self._receivers):
            if name in self.lost:
                continue
            if (dropped := self._dropped[position]) and copies(self._heard[position].values()) < MOST_COPIES:
                raise EnvironmentProblem(
                    f"{name} received {dropped} datagrams of the stream that were not read in time: the losses are "
                    "not known",
                    remedy="use a less loaded machine",
                )
            for kind, target in zip(KINDS, self._targets(position), strict=True):
                arrivals = self._heard[position].get(target)
                if arrivals is None:
                    raise CheckFailed(f"{name} received no {kind} of {self._sender}'s stream")
                found += judged(name, kind, self._sent, arrivals, self._events)
        return found


def _clock(machine: Machine) -> int:
    """How many ns a machine's clock is ahead of this one's: that of the answer that came back soonest."""
    found = []
    for _ in range(ASKED):
        asked = time.time_ns()
        there = int(machine.hello()["time"])
        answered = time.time_ns()
        found.append((answered - asked, there - (asked + answered) // 2))
    return min(found)[1]

"""
How long a lab is waited for: what is late is not lost, and what is lost is not waited for longer than need be.

After a deadline a lab is waited for once more (`Patience`).  What arrives then was not lost, and what it shows is not a
fault of the overlay: the check raises `TooSlow` and is no verdict.  A lab in which waiting showed nothing is waited for
no longer: its packets are lost.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

from lab.model import Network

SHORT = 0.02
"""Seconds for what is known to be lost; in a lab a packet takes less than a millisecond."""
SHORT_REPORT = 0.05
"""Seconds for a membership report that a known cause may lose: it leaves within two ticks of its host's clock."""
SECONDS = 1.0  # in vain, for a whole lab
BROKEN = 0.2
"""The same, where it is known why packets are lost."""
LIVE_MOST, LIVE_LEAST = 1.0, 0.25
"""Seconds that a fence may take between live hosts: several round trips of any cloud region, and its ARP."""
FASTER = "use a less loaded host or a faster path; no packets were lost"
"""The remedy where something was late."""
ENOUGH, TIMES = 10, 20  # fences that arrived, and how many times as long as the slowest of them the next one may take


@dataclass
class Patience:
    """The seconds that a lab may still be waited for in vain."""

    left: float = SECONDS

    @contextmanager
    def waiting(self, came: list[object]) -> Iterator[float]:
        """The time that may be waited; used up unless something has come."""
        began = time.monotonic()
        yield self.left
        if not came:
            self.left = max(0.0, self.left - (time.monotonic() - began))


@dataclass
class Learnt:
    """
    How long a fence may take between live hosts: at first as long as between any, then as these have shown.

    An overlay that is broken in one place is not waited for at each of its tests as if it were of another continent.
    """

    came: int = 0
    slowest: float = 0.0

    def note(self, seconds: float) -> None:
        """All fences of a check have come, in this time."""
        self.came += 1
        self.slowest = max(self.slowest, seconds)

    @property
    def seconds(self) -> float:
        if self.came < ENOUGH:
            return LIVE_MOST
        return min(LIVE_MOST, max(LIVE_LEAST, TIMES * self.slowest))


FlowKind = Literal["unicast", "broadcast", "multicast", "membership"]
REPORTED: tuple[FlowKind, ...] = ("broadcast", "membership")


@dataclass(frozen=True)
class Flow:
    """From one host to another, on one network, by one kind of address."""

    network: Network
    kind: FlowKind
    sender: str
    receiver: str


def presumed(ways: Iterable[Flow], hub: str, known: Collection[str], hosts: Collection[str]) -> set[Flow]:
    """
    The ways between `hosts` that are dead if these are, which were found between the hosts `known`.

    `hub` is the host that every tunnel ends at; empty where there is none, and then nothing is presumed.

    A packet that does not get from a spoke to the hub reaches no other spoke; the same for hub and other senders.
    On the underlay only ways to and from the hub have been tried, so that the same is presumed between all spokes.
    """
    found = set(ways)
    for way in list(found):
        tried = known if way.network == "overlay" else (hub,)
        further = [name for name in hosts if name not in tried]
        if way.receiver == hub:
            found |= {replace(way, receiver=name) for name in further}
        if way.sender == hub:
            found |= {replace(way, sender=name) for name in further}
    return {way for way in found if {way.sender, way.receiver} <= set(hosts) and way.sender != way.receiver}


@dataclass
class Lost:
    """
    The ways of a lab on which everything is known to be lost: by a diagnosis, or by a check that failed.

    A wait for a packet on one of them is `SHORT`.  A healthy lab has none.
    """

    ways: set[Flow] = field(default_factory=set)
    lossy: set[Flow] = field(default_factory=set)
    """The ways on which a known cause loses some packets: what does not arrive at once is taken for lost too."""
    kernel: set[str] = field(default_factory=set)
    """The causes in the kernel that all labs share, by their codes: with any, every way is lossy."""
    senders: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Whose packets come in at an interface of the overlay: a spoke's at the hub's end of its tunnel."""

    @property
    def anything(self) -> bool:
        """Whether anything is known to be lost."""
        return bool(self.ways or self.lossy or self.kernel)

    def every(self, ways: Collection[Flow]) -> bool:
        """Whether all of these ways are known to be dead, and there are any."""
        return bool(ways) and self.ways.issuperset(ways)

    def may_lose(self, *ways: Flow) -> bool:
        """Whether a known cause loses packets on each of these ways, all or some, and there are any."""
        return bool(ways) and (bool(self.kernel) or (self.ways | self.lossy).issuperset(ways))

    def grace(self, seconds: float, *ways: Flow) -> float:
        """How long to wait for packets on these ways: as long as nothing is known to lose them on one of the ways."""
        return min(seconds, SHORT) if self.may_lose(*ways) else seconds

    def grace_at(self, seconds: float, node: str, interface: str) -> float:
        """
        How long to wait for membership reports at an interface: in a healthy lab the whole time.

        A lost datagram to a group does not mean that a host's reports are lost: they leave by the device of the join,
        whatever the routing table is.
        """
        sender = self.senders.get((node, interface))
        ways = [Flow("overlay", kind, sender, node) for kind in REPORTED] if sender else []
        if not self.kernel and not any(map(self.may_lose, ways)):
            return min(seconds, BROKEN) if self.anything else seconds
        return min(seconds, SHORT if any(self.every([way]) for way in ways) else SHORT_REPORT)

    def note_at(self, node: str, interface: str) -> None:
        """Membership reports were waited for at an interface in vain."""
        if sender := self.senders.get((node, interface)):
            self.ways.add(Flow("overlay", "membership", sender, node))

    def grace_both(self, seconds: float, network: Network, one: str, other: str) -> float:
        """How long to wait for an exchange by unicast."""
        return min(seconds, SHORT) if self.no_exchange(network, one, other) else seconds

    def no_exchange(self, network: Network, one: str, other: str) -> bool:
        """Whether an exchange by unicast, which needs both directions, is known to fail, or may by a known cause."""
        return any(self.may_lose(Flow(network, "unicast", *ends)) for ends in ((one, other), (other, one)))

    def share(self, other: Lost) -> None:
        """What is found out about either is known of both from now on."""
        self.ways, self.lossy, self.kernel = other.ways, other.lossy, other.kernel

    def between(self, centre: str, known: Collection[str], hosts: Collection[str]) -> Lost:
        """The same as far as it can be presumed between `hosts`, found between the hosts `known`."""
        dead, lossy = (presumed(ways, centre, known, hosts) for ways in (self.ways, self.lossy))
        return Lost(dead, lossy, self.kernel)


@dataclass
class Known:
    """The known losses of a run, in labs of each plan."""

    makes: dict[str, Lost] = field(default_factory=dict)
    kernel: set[str] = field(default_factory=set)

    def of(self, make: str) -> Lost:
        """What is lost in labs of a make."""
        return self.makes.setdefault(make, Lost(kernel=self.kernel))

    def add(self, make: str, found: Lost) -> None:
        """More is known to be lost in labs of a make."""
        known = self.of(make)
        known.ways |= found.ways
        known.lossy |= found.lossy

    def clear(self) -> None:
        """Nothing is known any more: new labs are waited for again."""
        self.makes, self.kernel = {}, set()

"""
Losses: what of an exchange, or of a test, did not arrive, and the first place on its way (`probes.paths`) that it did
not reach.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lab.diagnose.trial import FEW_OCTETS, Exchange, ExchangeKind
from lab.model import Topology
from lab.probes.capture.paths import ObservationPoint, Stage, carried_to, reached, ways
from lab.probes.capture.sightings import UDP, Sighting
from lab.probes.payloads import tag_of

LARGE: Mapping[str, tuple[ExchangeKind, ...]] = {
    "broadcast": ("full-size broadcast", "fragmented broadcast"),
    "multicast": ("full-size multicast",),
}
ALSO: Mapping[str, tuple[ExchangeKind, ...]] = {
    "broadcast": ("named broadcast", "limited broadcast"),
    "multicast": ("group",),
}


@dataclass(frozen=True)
class Loss:
    """
    What of an exchange did not reach a receiver, and where it ended.

    `last` is the last place where it was seen (None: nowhere), `missing` the next one, where it was not; `inside` the
    last sighting in between, inside the cloud's own network, where that can be looked into.
    """

    exchange: Exchange
    receiver: str
    lost: int
    last: ObservationPoint | None
    missing: ObservationPoint
    inside: Sighting | ObservationPoint | None = None
    bare: Sighting | None = None
    """Where it left the sender without a tunnel, if it did."""

    size: int = 0
    """Octets of the payload, of what a test missed; an exchange of the trial has it in its kind."""
    port: int = 0
    """Where it was sent, of what a test missed."""
    protocol: int = UDP
    followed: bool = True
    """Whether it is known where it was lost; else `missing` is the receiver's socket."""

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of exchanges that are lost alike: a test's datagram is also of the kinds for its port and size."""
        kind: str = self.exchange.kind
        if not self.size and self.followed:
            return frozenset({kind})
        return frozenset({kind, *ALSO.get(kind, ()), *(LARGE.get(kind, ()) if self.large else ())})

    @property
    def large(self) -> bool:
        """Whether a limit of sizes may lose it, where it passes small packets."""
        return self.size > FEW_OCTETS

    @property
    def whole(self) -> bool:
        return self.lost == len(self.exchange.sent)

    @property
    def unresolved(self) -> bool:
        """Whether it never left because its receiver's MAC was not resolved, which needs broadcast."""
        return self.exchange.kind == "unicast" and self.last is None and self.followed

    @property
    def stage(self) -> Stage:
        return self.missing.stage

    @property
    def node(self) -> str:
        """Who ate it: the node that it was to leave or to enter."""
        return self.missing.node if self.stage != "cloud" or self.last is None else self.last.node

    def __str__(self) -> str:
        bare = f"left {self.bare.node} by {self.bare.interface}, outside the tunnel" if self.bare else ""
        last = f"last seen on {self.last}" if self.last else ""
        seen = ", ".join(filter(None, (last, bare))) or "never seen"
        inside = " ".join(dict.fromkeys((self.inside.node, self.inside.interface))) if self.inside else ""
        where = f" and in the cloud ({inside})" if inside else ""
        count = "" if self.whole else f" ({self.lost} of {len(self.exchange.sent)} lost)"
        never = "never on" if self.last or self.bare else "not even on"
        to = f" ({self.exchange.to})" if self.exchange.to else ""
        return f"{self.exchange.text(self.receiver + to)}{count}: {seen}{where}, {never} {self.missing}"


def losses(topology: Topology, exchange: Exchange) -> list[Loss]:
    """One loss for each receiver that did not receive everything."""
    if exchange.network != "overlay" or exchange.refused:
        return []
    every = {receiver: exchange.lost(receiver) for receiver in exchange.receivers}
    return [_loss(topology, exchange, receiver, lost) for receiver, lost in every.items() if lost]


def _loss(topology: Topology, exchange: Exchange, receiver: str, lost: tuple[bytes, ...]) -> Loss:
    tags = [tag_of(payload) for payload in lost]
    seen = [sighting for sighting in exchange.sightings if any(tag in sighting.frame for tag in tags)]
    places = max(ways(topology, exchange.sender, receiver), key=lambda places: reached(places[:-1], seen))
    # where the most was lost is where the first one ended
    furthest = min(reached(places[:-1], [one for one in seen if tag in one.frame]) for tag in tags)
    last = places[furthest] if furthest >= 0 else None
    start, missing = topology.node(exchange.sender), places[furthest + 1]
    outside = furthest < 1 and start.device != start.nic  # without tunnels, everything leaves by the NIC
    bare = [one for one in seen if (one.node, one.interface) == (start.name, start.nic) and not one.carrier]
    between = [one for one in seen if missing.stage == "cloud" and one.node not in topology.plans]
    inside = next((one for one in reversed(between) if carried_to(one, missing.carrier_to)), None)
    return Loss(exchange, receiver, len(lost), last, missing, inside, bare[0] if bare and outside else None)


def of_path(path: Mapping[str, Any]) -> Loss | None:
    """
    The loss of what a test sent, by its path (`probes.paths.Path.data`).

    None: nothing was lost, or it was of IPv6, which the trial does not send.
    """
    sender, receiver = path["sender"], path["receiver"]
    (to, _, port), lost = path["to"].rpartition(":"), (path["expected"] or 0) - path["heard"]
    if lost <= 0 or ":" in to:
        return None
    exchange = Exchange(path["kind"], path["network"], sender, (receiver,), to=to)
    how = {"size": path["size"], "port": int(port), "protocol": path["protocol"]}
    if not path["legs"]:
        socket = ObservationPoint(receiver, "", False, "delivery")
        return Loss(exchange, receiver, lost, None, socket, followed=False, **how)
    *before, end = path["legs"]
    seen = [leg for leg in before if leg["seen"]]
    last = next((_place(leg) for leg in reversed(seen) if leg["stage"]), None)
    inside = _place(seen[-1]) if seen and not seen[-1]["stage"] else None  # only what is in the cloud has no stage
    return Loss(exchange, receiver, lost, last, _place(end), inside, **how)


def _place(leg: Mapping[str, Any]) -> ObservationPoint:
    return ObservationPoint(leg["node"], leg["interface"], leg["direction"] == "out", leg["stage"])

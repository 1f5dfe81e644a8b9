"""Losses: what of an exchange did not arrive, and the first place on its way (`probes.paths`) that it did not reach."""

from __future__ import annotations

from dataclasses import dataclass

from lab.diagnose.trial import Exchange
from lab.model import Topology
from lab.probes.capture.paths import ObservationPoint, Stage, carried_to, reached, ways
from lab.probes.capture.sightings import Sighting
from lab.probes.payloads import tag_of


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
    inside: Sighting | None = None
    bare: Sighting | None = None
    """Where it left the sender without a tunnel, if it did."""

    @property
    def whole(self) -> bool:
        return self.lost == len(self.exchange.sent)

    @property
    def unresolved(self) -> bool:
        """Whether it never left because its receiver's MAC was not resolved, which needs broadcast."""
        return self.exchange.kind == "unicast" and self.last is None

    @property
    def stage(self) -> Stage:
        return self.missing.stage

    @property
    def node(self) -> str:
        """Who ate it: the node that it was to leave or to enter."""
        return self.missing.node if self.stage != "cloud" or self.last is None else self.last.node

    def __str__(self) -> str:
        seen = f"last seen on {self.last}" if self.last else "not captured anywhere"
        inside = " ".join(dict.fromkeys((self.inside.node, self.inside.interface))) if self.inside else ""
        where = f" and in the cloud ({inside})" if inside else ""
        count = "" if self.whole else f" ({self.lost} of {len(self.exchange.sent)} lost)"
        never = "never on" if self.last else "expected first on"
        to = f" ({self.exchange.to})" if self.exchange.to else ""
        return f"{self.exchange.burst} to {self.receiver}{to}{count}: {seen}{where}, {never} {self.missing}"


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
    bare = [one for one in seen if (one.node, one.interface) == (start.name, start.nic) and not one.carrier]
    between = [one for one in seen if missing.stage == "cloud" and one.node not in topology.plans]
    inside = next((one for one in reversed(between) if carried_to(one, missing.carrier_to)), None)
    return Loss(exchange, receiver, len(lost), last, missing, inside, bare[0] if bare and furthest < 1 else None)

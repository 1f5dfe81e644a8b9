"""What is sent and what is heard, as data."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOST_NAMED = 4


@dataclass
class Sent:
    """
    One stimulus: one or more datagrams from one socket; `refused` is what the sender's kernel answered instead.

    The `source` is known if the sender waited for its kernel.
    """

    node: str
    payloads: tuple[bytes, ...]
    to: str
    port: int
    source: tuple[str, int] | None = None
    refused: str = ""

    def note(self, refusal: OSError) -> None:
        """The sender's kernel refused."""
        self.refused = os.strerror(refusal.errno) if refusal.errno else str(refusal)

    @property
    def payload(self) -> bytes:
        return self.payloads[0]


def stimulus(every: Sequence[Sent], network: str) -> str:
    """What was sent, in one line."""
    by_aim: dict[tuple[str, int], list[Sent]] = {}
    for sent in every:
        by_aim.setdefault((sent.to, sent.port), []).append(sent)
    said = []
    for (to, port), stimuli in by_aim.items():
        senders = list(dict.fromkeys(sent.node for sent in stimuli))
        who = ", ".join(senders) if len(senders) <= MOST_NAMED else f"{len(senders)} hosts"
        count = sum(len(sent.payloads) for sent in stimuli)
        said.append(f"{who} sent {count} datagram{'' if count == 1 else 's'} to {to}:{port} ({network})")
        said += [f"the kernel of {sent.node} refused: {sent.refused}" for sent in stimuli if sent.refused]
    return "; ".join(said)


@dataclass(frozen=True)
class Datagram:
    """One datagram at a receiver's socket; `ttl` and `tos` as it arrived, `time` in ns since the epoch."""

    payload: bytes
    source: tuple[str, int] | None = None
    destination: str | None = None
    ttl: int | None = None
    tos: int | None = None
    time: int | None = None

    @classmethod
    def of(cls, received: Mapping[str, Any]) -> Datagram:
        source = received.get("source")
        return cls(
            payload=received["payload"],
            source=(source[0], source[1]) if source else None,
            destination=received.get("destination"),
            ttl=received.get("ttl"),
            tos=received.get("tos"),
            time=received.get("time"),
        )

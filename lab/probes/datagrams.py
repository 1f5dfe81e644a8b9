"""What is sent and what is heard, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Sent:
    """One stimulus: one or more datagrams from one socket."""

    node: str
    payloads: tuple[bytes, ...]
    to: str
    port: int
    source: tuple[str, int]

    @property
    def payload(self) -> bytes:
        return self.payloads[0]


@dataclass(frozen=True)
class Datagram:
    """One datagram at a receiver's socket; `ttl` and `tos` as it arrived, `time` in ns since the epoch."""

    payload: bytes
    source: tuple[str, int] | None = None
    destination: str | None = None
    ttl: int | None = None
    tos: int | None = None
    interface_index: int | None = None
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
            interface_index=received.get("index"),
            time=received.get("time"),
        )

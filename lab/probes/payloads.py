"""Unique payloads and ports: what a probe sends is recognised by what it carries, never by when it came."""

from __future__ import annotations

import itertools
import random
import re
import secrets
from collections.abc import Iterable, Iterator

TAG_SIZE = 16  # octets at the head of a payload, by which taps find every copy of it
MARK = re.compile(rb"oc:[0-9a-f]{12}:")
"""How a payload of `unique` begins."""
FIRST_PORT, LAST_PORT = 20_000, 32_000  # below ip_local_port_range: no other socket is given one of these
AGENTS_PORT, PROBES_FROM = FIRST_PORT, FIRST_PORT + 1
"""The first is for what agents of live hosts say to each other, which no capture keeps."""


def _shuffled() -> Iterator[int]:
    """All ports for probes, in an order of this process: on live hosts two runs may meet."""
    return itertools.cycle(random.sample(range(PROBES_FROM, LAST_PORT), LAST_PORT - PROBES_FROM))


_ports = _shuffled()
_taken: set[int] = set()


def unique(size: int | None = None) -> bytes:
    """A payload that no other probe has; `size` in octets (at least 16), 32 by default."""
    tag = b"oc:" + secrets.token_hex(6).encode() + b":"
    return tag.ljust(TAG_SIZE, b".") + b"~" * ((32 if size is None else max(size, TAG_SIZE)) - TAG_SIZE)


def tag_of(payload: bytes) -> bytes:
    """The part of a payload that taps look for: its head, which is in the first fragment whatever its size."""
    return payload[: 3 * TAG_SIZE]


def mark(carrying: bytes) -> bytes:
    """What no other payload has, of a payload or of a frame that carries one; empty: it carries none."""
    found = MARK.search(carrying)
    return found[0] if found else b""


def fresh_port() -> int:
    """A port that no earlier probe of this process used and no host has: a late packet reaches no socket."""
    return next(port for port in itertools.islice(_ports, LAST_PORT - PROBES_FROM) if port not in _taken)


def avoid_ports(ports: Iterable[int]) -> None:
    """Give no probe these ports: programs of a host have them."""
    _taken.update(ports)


def fresh_group6() -> str:
    """An IPv6 group that no other probe uses (ff15::/16: transient, site-local; RFC 4291 section 2.7)."""
    number = secrets.randbits(32)
    return f"ff15::{number >> 16:x}:{number & 0xFFFF | 1:x}"

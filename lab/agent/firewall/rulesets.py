"""
A digest of every firewall in use in the stack that the thread is in: its rules and policies, without counters.

No program is started: the rules are read as the kernel has them.  Only tables that this stack has are read, so that no
module is loaded and no table is made.  Sources: linux/netfilter_ipv4/ip_tables.h (and ip6, arp), nf_tables.h.
"""

from __future__ import annotations

import hashlib
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from lab.agent.firewall import ebtables, nftables

ACCEPT = -2  # a verdict as the kernel stores it: -NF_ACCEPT - 1
ERROR_TARGET = b"ERROR"
GET_ENTRIES_HEAD = struct.calcsize("32sI0Q")  # struct ipt_get_entries: name, size; the entries are aligned behind them


@dataclass(frozen=True)
class Family:
    """How a family's tables are read: socket, level and first option of its getsockopt, its structures."""

    socket: int
    level: int
    option: int
    info: struct.Struct
    """Name, valid hooks, entry points and underflows, number of entries, their size."""
    entry: struct.Struct
    """What to match, offset of the target, offset of the next entry, where the kernel came from, two counters."""


LEGACY = {
    "ip": Family(socket.AF_INET, socket.IPPROTO_IP, 64, struct.Struct("32sI40xII"), struct.Struct("84s4xHHIQQ")),
    "ip6": Family(socket.AF_INET6, socket.IPPROTO_IPV6, 64, struct.Struct("32sI40xII"), struct.Struct("136s4xHHIQQ")),
    "arp": Family(socket.AF_INET, socket.IPPROTO_IP, 96, struct.Struct("32sI24xII"), struct.Struct("164sHHIQQ")),
}


class Rulesets:
    """The digest for one stack; nftables are read again only after the kernel has reported a change."""

    def __init__(self) -> None:
        self._generation: bytes | None = None
        self._nft: list[bytes] = []

    def parts(self) -> list[bytes]:
        """One part for each table in which something is not as in an empty one; called inside the stack."""
        return [*_legacy(), *_ebtables(), *self._nftables()]

    def _nftables(self) -> list[bytes]:
        if not nftables.present():
            return []
        try:
            generation = nftables.generation()
            if generation != self._generation:
                self._generation, self._nft = generation, nftables.rules()
        except PermissionError:
            return []
        return self._nft


def _legacy() -> Iterator[bytes]:
    for name, family in LEGACY.items():
        try:
            with open(f"/proc/thread-self/net/{name}_tables_names") as file:
                tables = file.read().split()
        except OSError:  # no such firewall, or no right to look
            continue
        for table in tables:
            if content := _table(family, table):
                yield f"{name} {table} ".encode() + hashlib.sha256(content).digest()


def _table(family: Family, table: str) -> bytes:
    """The entries of a table without counters; nothing when there are but policies that accept."""
    name, at = table.encode(), (family.socket, family.level)
    info = ebtables.getsockopt(*at, family.option, name.ljust(family.info.size, b"\0"))
    _, hooks, count, size = family.info.unpack(info)
    request = struct.pack("32sI0Q", name, size).ljust(GET_ENTRIES_HEAD + size, b"\0")
    entries = ebtables.getsockopt(*at, family.option + 1, request)[GET_ENTRIES_HEAD:]
    # a policy for each hook, and the mark of the end
    found, plain, offset = [], count == bin(hooks).count("1") + 1, 0
    while offset < len(entries):
        match, target, following, _, _, _ = family.entry.unpack_from(entries, offset)
        plain = plain and _accepts(entries[offset + target : offset + following])
        found.append(match + entries[offset + family.entry.size : offset + following])
        offset += following
    return b"" if plain else b"".join(found)


def _accepts(target: bytes) -> bool:
    """Whether a target is a built-in chain's policy ACCEPT, or the mark of a table's end."""
    name = target[2:31].rstrip(b"\0")
    return name == ERROR_TARGET or (not name and struct.unpack_from("=i", target, 32)[0] == ACCEPT)


def _ebtables() -> Iterator[bytes]:
    for table in ebtables.loaded():
        try:
            used = ebtables.sizes(table)[0]
            if used or any(chain["verdict"] != "ACCEPT" for chain in ebtables.policies(table)):
                yield f"bridge {table} ".encode() + hashlib.sha256(ebtables.entries(table)).digest()
        except PermissionError:
            continue

"""
Whether the bridge firewall of ebtables (the legacy one) is in use in the stack that the thread is in.

There is no list of its tables in /proc: the kernel is asked for the size of each whose module is loaded, which makes
an empty table for the stack where there was none, and loads nothing.  Source: linux/netfilter_bridge/ebtables.h.
"""

from __future__ import annotations

import ctypes
import os
import re
import socket
import struct
from collections.abc import Iterator
from typing import Any

TABLES = ("filter", "nat", "broute")
CHAINS = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING", "BROUTING")
GET_INFO, GET_ENTRIES = 128, 129
REPLACE = "32sIII6PIPP"  # struct ebt_replace: name, hooks, entries, their size, chains, counters and where they go
HEAD = struct.Struct("I32sIiI")  # struct ebt_entries: a chain's policy, without its rules
HEAD_SIZE = (HEAD.size + 7) & ~7
CHAIN_HEAD = re.compile(r"Bridge chain: (.*?), entries: \d+, policy: (\w+)")
COUNTED = re.compile(r"(-.*?) ?, pcnt = (\d+) -- bcnt = (\d+)$")
VERDICTS = {-1: "ACCEPT", -2: "DROP", -3: "CONTINUE", -4: "RETURN"}

_libc = ctypes.CDLL(None, use_errno=True)


def loaded() -> list[str]:
    """The tables that the kernel has now."""
    return [table for table in TABLES if os.path.exists(f"/sys/module/ebtable_{table}")]


def sizes(table: str) -> tuple[int, int]:
    """How many rules a table has, and the octets of it all; PermissionError without CAP_NET_ADMIN in the stack."""
    fields = _ask(GET_INFO, struct.pack(REPLACE, table.encode(), *[0] * 12))
    return int(fields[2]), int(fields[3])


def listed(text: str) -> Iterator[dict[str, Any]]:
    """
    The rules and policies in what `ebtables -L --Lc` writes of one table; a rule's verdict is in its words.

    A chain that is jumped to has a policy too, which is listed only when it is not to go on (RETURN).
    """
    chain, position = "", 0
    for line in text.splitlines():
        if head := CHAIN_HEAD.match(line):
            chain, position = head.group(1), 0
            if chain in CHAINS or head.group(2) != "RETURN":
                yield {"chain": chain, "verdict": head.group(2)}
        elif counted := COUNTED.match(line):
            position += 1
            rule, packets, octets = counted.groups()
            yield {"chain": chain, "rule": rule, "position": position, "packets": int(packets), "bytes": int(octets)}


def policies(table: str) -> Iterator[dict[str, Any]]:
    """Chain and verdict of each chain of a table that has no rules."""
    raw = entries(table)
    for offset in range(0, len(raw) - HEAD.size + 1, HEAD_SIZE):
        _, name, _, policy, _ = HEAD.unpack_from(raw, offset)
        yield {"chain": name.split(b"\0")[0].decode(), "verdict": VERDICTS.get(policy, str(policy))}


def entries(table: str) -> bytes:
    """The chains and rules of a table as the kernel has them, without counters."""
    count, size = sizes(table)
    raw = ctypes.create_string_buffer(size)
    request = struct.pack(REPLACE, table.encode(), 0, count, size, *[0] * 6, 0, 0, ctypes.addressof(raw))
    _ask(GET_ENTRIES, request, size)
    return raw.raw


def _ask(option: int, request: bytes, more: int = 0) -> tuple[Any, ...]:
    answer = getsockopt(socket.AF_INET, socket.IPPROTO_IP, option, request, more)
    return struct.unpack(REPLACE, answer[: struct.calcsize(REPLACE)])


def getsockopt(family: int, level: int, option: int, request: bytes, more: int = 0) -> bytes:
    """
    The answer to a request that is in its buffer, for which Python's own function has no argument.

    `more`: octets of what the kernel writes elsewhere, which it wants counted.
    """
    answer = ctypes.create_string_buffer(request, len(request))
    length = ctypes.c_uint(len(request) + more)
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as asked:
        if _libc.getsockopt(asked.fileno(), level, option, answer, ctypes.byref(length)):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    return answer.raw

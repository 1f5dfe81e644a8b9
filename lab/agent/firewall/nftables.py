"""
Whether nftables is in use in the stack that the thread is in, and what is in it: read from the kernel, no program.

A kernel that can load nf_tables does so when it is merely asked for its tables; so it is asked only when they are
there already.  Sources: linux/netfilter/nfnetlink.h, nf_tables.h.
"""

from __future__ import annotations

import contextlib
import functools
import os
import struct

from lab.agent import modules, prerequisites
from lab.agent.rtnl import Transport, attribute, attributes, text

NETLINK_NETFILTER = 12
SUBSYSTEM = 10 << 8  # NFNL_SUBSYS_NFTABLES
GETTABLE, GETCHAIN, GETRULE, GETGEN = 1, 4, 7, 16  # NFT_MSG_*
HEADER = 4  # struct nfgenmsg
TABLE_NAME, GENERATION, CHAIN_POLICY, EXPRESSIONS, EXPRESSION_NAME, EXPRESSION_DATA = 1, 1, 5, 4, 1, 2
CHAIN_CHANGES, RULE_CHANGES = {2, 6, 8}, {3, 6}  # handles, uses, counters, what stands before
ACCEPT = struct.pack("!I", 1)
COUNTING = (b"counter", b"quota", b"last")
FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}


def present() -> bool:
    """Whether this kernel has nf_tables now, loaded or built in."""
    return os.path.exists("/sys/module/nf_tables") or _built_in()


@functools.cache
def _built_in() -> bool:
    """A module without parameters that is built in is in no list but those of its build; else its symbols show it."""
    listed = modules.built_in("nf_tables", prerequisites.modules_directory())
    if listed is None:
        listed = configured()
    return has_symbols() if listed is None else listed


def configured() -> bool | None:
    """Whether the running kernel's own configuration builds it in; None without one (CONFIG_IKCONFIG_PROC)."""
    import gzip

    try:
        with gzip.open("/proc/config.gz") as configuration:
            return b"\nCONFIG_NF_TABLES=y\n" in configuration.read()
    except OSError:
        return None


def has_symbols() -> bool:
    """Whether the kernel has a symbol of it; to list them all takes the kernel 0.1 s."""
    try:
        with open("/proc/kallsyms", "rb") as symbols:
            return any(b" nf_tables_newtable" in line for line in symbols)
    except OSError:
        return False


def tables() -> list[tuple[str, str]]:
    """Family and name of every table of the stack; PermissionError without CAP_NET_ADMIN there."""
    return [
        (FAMILIES.get(message[0], "?"), text(dict(attributes(message, HEADER)).get(TABLE_NAME)))
        for message in _asked(GETTABLE)
    ]


def generation() -> bytes:
    """A number of the stack's rules that is another one after every change."""
    with contextlib.closing(Transport(NETLINK_NETFILTER)) as transport:
        message = transport.get(SUBSYSTEM | GETGEN, bytes(HEADER), "nft list ruleset")
    return dict(attributes(message, HEADER))[GENERATION]


def rules() -> list[bytes]:
    """Every rule, and every policy but ACCEPT, without handles and counters."""
    found = []
    for kind, left_out in ((GETCHAIN, CHAIN_CHANGES), (GETRULE, RULE_CHANGES)):
        for message in _asked(kind):
            parts = {of: value for of, value in attributes(message, HEADER) if of not in left_out}
            if kind == GETCHAIN and parts.get(CHAIN_POLICY, ACCEPT) == ACCEPT:
                continue
            if EXPRESSIONS in parts and kind == GETRULE:
                parts[EXPRESSIONS] = b"".join(_expression(value) for _, value in attributes(parts[EXPRESSIONS], 0))
            found.append(bytes([kind, message[0]]) + b"".join(attribute(of, parts[of]) for of in sorted(parts)))
    return found


def _expression(element: bytes) -> bytes:
    """One expression of a rule; of a counter nothing but that it is one."""
    parts = dict(attributes(element, 0))
    name = parts.get(EXPRESSION_NAME, b"")
    return name if name.rstrip(b"\0") in COUNTING else name + parts.get(EXPRESSION_DATA, b"")


def _asked(kind: int) -> list[bytes]:
    """Everything of a kind that a stack has, from its fixed header on."""
    with contextlib.closing(Transport(NETLINK_NETFILTER)) as transport:
        return transport.raw_dump(SUBSYSTEM | kind, bytes(HEADER))

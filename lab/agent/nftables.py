"""
Whether nftables is in use in the stack that the thread is in, and what is in it: read from the kernel, no program.

A kernel that can load nf_tables does so when it is merely asked for its tables; so it is asked only when they are
there already.  Sources: linux/netfilter/nfnetlink.h, nf_tables.h.
"""

from __future__ import annotations

import functools
import os
import socket
import struct

from lab.agent.modules import DIRECTORY
from lab.agent.rtnl import attribute, attributes, messages

NETLINK_NETFILTER = 12
SUBSYSTEM = 10 << 8  # NFNL_SUBSYS_NFTABLES
GETTABLE, GETCHAIN, GETRULE, GETGEN = 1, 4, 7, 16  # NFT_MSG_*
HEADER = 4  # struct nfgenmsg
TABLE_NAME, GENERATION, CHAIN_POLICY, EXPRESSIONS, EXPRESSION_NAME, EXPRESSION_DATA = 1, 1, 5, 4, 1, 2
CHAIN_CHANGES, RULE_CHANGES = {2, 6, 8}, {3, 6}  # handles, uses, counters, what stands before
ACCEPT = struct.pack("!I", 1)
COUNTING = (b"counter", b"quota", b"last")
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}


def present() -> bool:
    """Whether this kernel has nf_tables now, loaded or built in."""
    return os.path.exists("/sys/module/nf_tables") or _built_in()


@functools.cache
def _built_in() -> bool:
    """A module without parameters that is built in is in no list but that of its build; else its symbols tell."""
    release = os.uname().release
    for directory in (os.environ.get(DIRECTORY, ""), f"/lib/modules/{release}"):
        try:
            with open(os.path.join(directory, "modules.builtin")) as index:
                return any(line.strip().endswith("/nf_tables.ko") for line in index)
        except OSError:
            continue
    try:
        with open("/proc/kallsyms", "rb") as symbols:
            return any(b" nf_tables_newtable" in line for line in symbols)
    except OSError:
        return False


def tables() -> list[tuple[str, str]]:
    """Family and name of every table of the stack; PermissionError without CAP_NET_ADMIN there."""
    return [
        (FAMILIES.get(message[0], "?"), dict(attributes(message, HEADER)).get(TABLE_NAME, b"").rstrip(b"\0").decode())
        for message in _asked(GETTABLE)
    ]


def generation() -> bytes:
    """A number of the stack's rules that is another one after every change."""
    (message,) = _asked(GETGEN, 0)
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


def _asked(kind: int, flags: int = NLM_F_DUMP) -> list[bytes]:
    """The answers to a question about the whole of a stack, from their fixed header on."""
    type_of = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    with socket.socket(socket.AF_NETLINK, type_of, NETLINK_NETFILTER) as asked:
        asked.bind((0, 0))
        asked.send(struct.pack("=IHHII", 20, SUBSYSTEM | kind, NLM_F_REQUEST | flags, 1, 0) + bytes(HEADER))
        found: list[bytes] = []
        while True:
            for answer, _, _, body in messages(asked.recv(1 << 18)):
                if answer == NLMSG_DONE:
                    return found
                if answer == NLMSG_ERROR:
                    (number,) = struct.unpack_from("=i", body)
                    if number:
                        raise OSError(-number, os.strerror(-number))
                    return found
                found.append(body)
            if flags != NLM_F_DUMP:
                return found

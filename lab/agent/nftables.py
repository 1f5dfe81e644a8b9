"""
Whether nftables is in use in the stack that the thread is in: asked of the kernel, which costs no program.

A kernel that can load nf_tables does so when it is merely asked for its tables; so it is asked only when they are
there already.  Sources: linux/netfilter/nfnetlink.h, nf_tables.h.
"""

from __future__ import annotations

import functools
import os
import socket
import struct

from lab.agent.modules import DIRECTORY

NETLINK_NETFILTER = 12
SUBSYSTEM = 10 << 8  # NFNL_SUBSYS_NFTABLES
GETTABLE, TABLE_NAME = 1, 1
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
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    with socket.socket(socket.AF_NETLINK, kind, NETLINK_NETFILTER) as asked:
        asked.bind((0, 0))
        asked.send(
            struct.pack("=IHHII", 20, SUBSYSTEM | GETTABLE, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + bytes([0, 0, 0, 0])
        )
        found: list[tuple[str, str]] = []
        while True:
            data = asked.recv(1 << 16)
            offset = 0
            while offset + 16 <= len(data):
                length, answer = struct.unpack_from("=IH", data, offset)
                if answer == NLMSG_DONE:
                    return found
                if answer == NLMSG_ERROR:
                    (number,) = struct.unpack_from("=i", data, offset + 16)
                    if number:
                        raise OSError(-number, os.strerror(-number))
                    return found
                found.append((FAMILIES.get(data[offset + 16], "?"), _name(data[offset + 20 : offset + length])))
                offset += (length + 3) & ~3


def _name(attributes: bytes) -> str:
    offset = 0
    while offset + 4 <= len(attributes):
        length, kind = struct.unpack_from("=HH", attributes, offset)
        if kind & 0x3FFF == TABLE_NAME:
            return attributes[offset + 4 : offset + length].rstrip(b"\0").decode(errors="replace")
        offset += max(4, (length + 3) & ~3)
    return ""

"""
Tunnels of this stack whose devices are in another network namespace of the machine, a container's for instance.

They send and receive on this stack's underlay, and the kernel makes no second one to the same remote ("File exists").
Looking changes nothing: each namespace is entered and its links are read.  Without root there are none to enter.
Sources: rtnetlink(7), linux/net_namespace.h, linux/if_link.h, linux/if_tunnel.h.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from typing import Any

from lab.agent.namespaces import THIS_STACK, Stack
from lab.agent.rtnl import GETLINK, Transport, attribute, attributes

GETNSID, NETNSA_NSID, NETNSA_FD = 90, 1, 3
IFLA_IFNAME, IFLA_LINKINFO, IFLA_LINK_NETNSID = 3, 18, 37
REMOTES = {b"gretap": 7, b"ip6gretap": 7, b"vxlan": 2}  # IFLA_GRE_REMOTE, IFLA_VXLAN_GROUP
NAMED = "/run/netns"


def tunnels() -> list[dict[str, Any]]:
    """
    `device`, `remote`, the `path` of the namespace and the `program` in it, of each tunnel of the thread's stack.

    `program` is empty for a namespace that has a name and no process.
    """
    found = []
    own = os.open(THIS_STACK, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for path, program in _others():
            with contextlib.suppress(OSError):  # gone meanwhile, or not this user's to enter
                held = Stack("", os.open(path, os.O_RDONLY | os.O_CLOEXEC))
                try:
                    with held.entered():
                        found += [{**one, "path": path, "program": program} for one in _of(own)]
                finally:
                    held.close()
    finally:
        os.close(own)
    return found


def _others() -> Iterator[tuple[str, str]]:
    """Every other network namespace of the machine, once, with a program that is in it."""
    seen = {os.stat(THIS_STACK).st_ino}
    paths = [os.path.join(NAMED, name) for name in (os.listdir(NAMED) if os.path.isdir(NAMED) else ())]
    paths += [f"/proc/{process}/ns/net" for process in filter(str.isdigit, os.listdir("/proc"))]
    for path in paths:
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            number = os.stat(path).st_ino
            program = ""
            if path.startswith("/proc/"):
                with open(f"{path[:-6]}comm") as name:
                    program = name.read().strip()
            if number not in seen:
                seen.add(number)
                yield path, program


def _of(stack: int) -> Iterator[dict[str, str]]:
    """The tunnels of a stack among the links of the namespace that the thread is in."""
    transport = Transport()
    try:
        known = transport.get(GETNSID, bytes(4) + attribute(NETNSA_FD, struct.pack("=I", stack)), "ip netns list-id")
        (number,) = [value for kind, value in attributes(known, 4) if kind == NETNSA_NSID]
        for link in transport.raw_dump(GETLINK, bytes(16)):
            parts = dict(attributes(link, 16))
            info = dict(attributes(parts.get(IFLA_LINKINFO, b""), 0))
            kind = info.get(1, b"").rstrip(b"\0")
            if parts.get(IFLA_LINK_NETNSID) == number and kind in REMOTES:
                remote = dict(attributes(info.get(2, b""), 0)).get(REMOTES[kind], b"")
                family = socket.AF_INET6 if len(remote) == 16 else socket.AF_INET
                yield {
                    "device": parts[IFLA_IFNAME].rstrip(b"\0").decode(),
                    "remote": socket.inet_ntop(family, remote) if len(remote) in (4, 16) else "",
                }
    finally:
        transport.close()

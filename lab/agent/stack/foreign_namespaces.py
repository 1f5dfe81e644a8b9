"""
Tunnels of this stack whose devices are in another network namespace of the machine, a container's for instance.

They send and receive on this stack's underlay, and the kernel makes no second one to the same remote ("File exists").
Looking changes nothing: each namespace is entered and its links are read.  Without root there are none to enter.
Sources: rtnetlink(7), linux/net_namespace.h.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from typing import Any

from lab.agent.namespaces import THIS_STACK, Stack
from lab.agent.rtnl import Transport, attribute, attributes
from lab.agent.stack import reading

GETNSID, NETNSA_NSID, NETNSA_FD = 90, 1, 3
REMOTES = {"gretap": "remote", "ip6gretap": "remote", "geneve": "remote", "vxlan": "group"}
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
        (number,) = [struct.unpack("=i", value)[0] for kind, value in attributes(known, 4) if kind == NETNSA_NSID]
        for link in reading.links(transport):
            if link["link_netnsid"] == number and link["kind"] in REMOTES:
                yield {"device": link["name"], "remote": link["details"].get(REMOTES[link["kind"]], "")}
    finally:
        transport.close()

"""
The IPv4 multicast router of the stack that the thread is in: its interfaces, and the processes that hold it.

A stack routes multicast as long as a process keeps its raw IGMP socket open (MRT_INIT); nothing else ends it.
Sources: net/ipv4/ipmr.c, proc(5).  Standard library alone, Python 3.9 or newer.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

from lab.agent.stack import procfs

IGMP = 2


def router() -> dict[str, Any]:
    """
    `interfaces` (device, packets in and out) and `processes` (number and name of each that holds an IGMP socket).

    Both are empty where no multicast is routed.
    """
    interfaces = []
    for line in procfs.read_net("ip_mr_vif").splitlines()[1:]:
        _, device, _, incoming, _, outgoing, *_ = line.split()
        interfaces.append({"device": device, "in": int(incoming), "out": int(outgoing)})
    return {"interfaces": interfaces, "processes": _holders() if interfaces else []}


def _holders() -> list[list[Any]]:
    """Who holds a raw socket of IGMP: /proc/net/raw has a socket's protocol where others have the port."""
    rows = [line.split() for line in procfs.read_net("raw").splitlines()[1:]]
    wanted = {f"socket:[{row[9]}]" for row in rows if int(row[1].rpartition(":")[2], 16) == IGMP}
    found = []
    for process in filter(str.isdigit, os.listdir("/proc")) if wanted else ():
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            held = (os.readlink(f"/proc/{process}/fd/{number}") for number in os.listdir(f"/proc/{process}/fd"))
            if any(name in wanted for name in held):
                with open(f"/proc/{process}/comm") as name:
                    found.append([int(process), name.read().strip()])
    return found

"""
The tool that makes this machine's network at boot: the one that manages its NIC, by its own state at runtime.

Sources: systemd's /run/systemd/netif/links, NetworkManager's /run/NetworkManager/devices, netplan(5), interfaces(5).
"""

from __future__ import annotations

import re
import socket
from glob import glob

from lab.agent.boot import base, ifupdown, netplan

NETWORKD, NETWORK_MANAGER, NETPLAN, IFUPDOWN = "systemd-networkd", "NetworkManager", "netplan", "ifupdown"
YAML = "/etc/netplan/*.yaml"
PROGRAMS = {
    NETWORKD: ("systemd-networkd.service", "systemd-networkd"),
    NETWORK_MANAGER: ("NetworkManager.service", "NetworkManager"),
    IFUPDOWN: ("networking.service", "ifup"),
}
"""The unit and the program of each tool."""


def manager(nic: str) -> str:
    """
    The tool's name, as `files` has it; "" where none is known.

    Only tools that a boot starts count; where none of them manages the NIC, the only one that starts is chosen.
    """
    yaml = [path for path in glob(YAML) if netplan.obstacle(path, "") is None]
    if yaml and not any(netplan.BY_NETWORK_MANAGER.search(base.read(path)) for path in yaml):
        return NETPLAN
    started = [tool for tool, (unit, program) in PROGRAMS.items() if base.program(unit, program, "") is None]
    managing = [tool for tool in started if _manages(tool, nic)]
    return next(iter(managing or (started if len(started) == 1 else [])), "")


def _manages(tool: str, nic: str) -> bool:
    try:
        index = socket.if_nametoindex(nic)
    except OSError:
        return False
    if tool == NETWORKD:
        return bool(re.search(r"^ADMIN_STATE=configur", base.read(f"/run/systemd/netif/links/{index}"), re.M))
    if tool == NETWORK_MANAGER:
        return "managed=true" in base.read(f"/run/NetworkManager/devices/{index}")
    files = (ifupdown.INTERFACES, *glob(f"{ifupdown.INTERFACES}.d/*"))
    return any(nic == name for path in files for name, _ in ifupdown.STANZA.findall(base.read(path)))

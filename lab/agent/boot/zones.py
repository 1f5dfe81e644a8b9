"""
The zone of firewalld that a boot gives a device by a connection of NetworkManager, or a file of network-scripts.

Such a zone counts, not that of firewalld's own files.  A connection without one is in the default zone, whatever zone
firewalld's files have the device in (`changeZoneOfInterface` with an empty zone).
Sources: nm-settings(5): connection.zone; sysconfig.txt: ZONE; firewalld.zones(5).
"""

from __future__ import annotations

import glob
import os
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from lab.agent.boot import base, devices, files, netplan, network_manager, sources
from lab.agent.boot.base import BootObstacle, Part

GENERATED = "/run/NetworkManager/system-connections/netplan-*"
"""What netplan writes at each boot."""


def assigned() -> list[dict[str, Any]]:
    """
    The zones of devices by files that a boot uses: `device`, `zone` ("": the default one), `path`, `doubt`, `change`.

    `doubt`: why the file may not be used; `change`: the command that sets another zone, with `{zone}` for it.
    """
    found = [
        {"device": device, "zone": zone, "path": path, "doubt": doubt, "change": change}
        for path, part, zone, change, obstacle in (*_connections(), *_scripts(), *_of_netplan())
        for device in part.devices or ()
        for doubt in _doubt(part.obstacle or obstacle)
    ]
    return [*found, *_by_default([entry["device"] for entry in found])]


def _by_default(named: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The NICs without a file, for which NetworkManager may make a connection of its own."""
    if base.program("NetworkManager.service", "NetworkManager", "network-manager"):
        return
    for device in (one.name for one in devices.found() if one.name not in (*named, "lo")):
        if network_manager.unmanaged(device, "ethernet") is None:
            doubt = f"whether NetworkManager makes a connection for {device} {files.UNKNOWN}"
            yield {"device": device, "zone": "", "path": network_manager.MAIN, "doubt": doubt, "change": ""}


def _doubt(obstacle: BootObstacle) -> list[str]:
    """Why a file may not be used; none where a boot certainly does not use it."""
    if obstacle is None:
        return [""]
    return [obstacle[0]] if files.UNKNOWN in obstacle[0] else []


Assigned = tuple[str, Part, str, str, BootObstacle]


def _connections() -> Iterator[Assigned]:
    """Each connection, its zone, and the command that sets another."""
    for path in sorted(glob.glob(sources.CONNECTIONS)):
        text = base.read(path)
        own = dict(base.settings(text, "connection"))
        change = f"sudo nmcli connection modify {shlex.quote(own.get('id', ''))} connection.zone {{zone}}"
        for part in network_manager.parts(path, text, ()):
            yield path, part, own.get("zone", ""), change, network_manager.obstacle(path, text)


def _scripts() -> Iterator[Assigned]:
    for path in sorted(glob.glob("/etc/sysconfig/network-scripts/ifcfg-*")):
        text = base.read(path)
        zone = dict(network_manager.IFCFG.findall(text)).get("ZONE", "")
        change = f"sudo sed -i -e '/^ZONE=/d' -e '$aZONE={{zone}}' {path}"
        for part in network_manager.ifcfg_parts(path, text, ()):
            yield path, part, zone, change, network_manager.ifcfg_obstacle(path, text)


def _of_netplan() -> Iterator[Assigned]:
    """The connections that netplan wrote at the last boot, which the next one writes again from its files."""
    found = [path for pattern in netplan.PATTERNS for path in glob.glob(pattern)]
    first = next(iter(found), "")
    for path in sorted(glob.glob(GENERATED)):
        text = base.read(path)
        own = dict(base.settings(text, "connection"))
        newer = next((file for file in found if os.stat(file).st_mtime > os.stat(path).st_mtime), "")
        why: BootObstacle = (f"{newer} is newer than {path}: its zone {files.UNKNOWN}", "") if newer else None
        why = why or netplan.obstacle(first, base.read(first))
        for part in network_manager.parts(path, text, ()):
            change = f"sudo grep -rn 'connection.zone' {netplan.FOLDERS[0]}    # then set it to {{zone}}"
            yield path, part, own.get("zone", ""), change, why

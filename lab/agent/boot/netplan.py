"""
Which definitions of netplan are for which devices.

Source: netplan(5).
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lab.agent.boot import base, devices
from lab.agent.boot.base import Obstacle, Part
from lab.agent.execution import programs

BY_NETWORK_MANAGER = re.compile(r"^\s*renderer:\s*[\"']?NetworkManager", re.MULTILINE)
"""What netplan hands over to NetworkManager."""
PHYSICAL = ("ethernets", "wifis", "modems")
MATCH = {"name": "Name", "macaddress": "MACAddress", "driver": "Driver"}
PYTHON = "/usr/bin/python3"  # netplan's own, which has PyYAML
PARSED = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1])), default=str))"
TIMEOUT = 10.0


def obstacle(path: str, text: str) -> Obstacle:
    """Why a boot does not use netplan's files."""
    if shutil.which("netplan", path=base.PROGRAMS) is None:
        return "netplan is not installed", "sudo apt-get install netplan.io"
    if found := _rejected():
        return found
    if BY_NETWORK_MANAGER.search(text):
        return base.program("NetworkManager.service", "NetworkManager", "network-manager")
    # netplan starts it by itself, unless it is masked
    unit = "systemd-networkd.service"
    return (f"{unit} is masked", f"sudo systemctl unmask {unit}") if base.masked(unit) else None


@base.remembered
def _rejected() -> Obstacle:
    """The first error in any of the files, by which netplan uses none of them; remembered until `forget`."""
    with contextlib.suppress(OSError):
        done = programs.run(["netplan", "get"], TIMEOUT)
        if error := re.search(r"/\S+?\.yaml:\d+.*", str(done["errors"])):
            return f"netplan rejects {error[0]}", "sudo netplan get    # then correct it"
    return None


def parts(path: str, text: str, words: Sequence[str]) -> Iterator[Part]:
    """The definitions, each with the devices that it is for."""
    # netplan has one renderer for a file: it counts for each part
    renderer = "\nrenderer: NetworkManager" if BY_NETWORK_MANAGER.search(text) else ""
    read = _read(path)
    if read is None:
        yield Part(
            text, obstacle=(f"{PYTHON} cannot read it as YAML: cannot be determined", f"netplan generate    # {path}")
        )
        return
    network = read.get("network")
    for section, definitions in network.items() if isinstance(network, dict) else ():
        for name, body in definitions.items() if isinstance(definitions, dict) else ():
            yield _part(section, name, body if isinstance(body, dict) else {}, renderer, path)


def _read(path: str) -> Any:
    with contextlib.suppress(OSError, ValueError):
        done = programs.run([PYTHON, "-c", PARSED, path], TIMEOUT)
        read = json.loads(done["output"]) if done["status"] == 0 else None
        return read if read is None or isinstance(read, dict) else {}
    return None


def _part(section: str, name: str, body: Mapping[str, Any], renderer: str, path: str) -> Part:
    text = json.dumps({name: body}) + renderer
    if mode := body.get("activation-mode"):
        return Part(text, obstacle=(f"{name} has activation-mode: {mode}", f"grep -n activation-mode {path}"))
    if section not in PHYSICAL:
        return Part(text, [name], makes=True)
    match = body.get("match")
    if not isinstance(match, dict) or not match:
        return Part(text, [name])
    wanted = [(MATCH[key], _listed(value)) for key, value in match.items() if key in MATCH]
    found = [(device, devices.takes(wanted, device)) for device in devices.found()]
    taken = [body.get("set-name") or device.name for device, takes in found if takes]
    if taken:
        return Part(text, taken)
    said = ", ".join(f"{key}: {_listed(value)}" for key, value in match.items())
    why = f"no device of this host has {said}, which the match of {name} wants"
    if any(takes is None for _, takes in found):
        why = f"whether a device has {said} at boot cannot be determined"
    return Part(text, obstacle=(why, f"grep -n -A9 match: {path}    # then correct it"))


def _listed(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)

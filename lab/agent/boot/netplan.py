"""
Which definitions of netplan are for which devices, as its files make them together.

Files are read in the order of their names, whatever their folder: a mapping of a later one adds to that before, a list
is appended, and another value replaces it.  Those of /run are gone after a boot.
Source: netplan(5), netplan-generate(8).
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lab.agent.boot import base, devices, network_manager, networkd
from lab.agent.boot.base import BootObstacle, Part
from lab.agent.boot.devices import BootDevice
from lab.agent.boot.shell import values
from lab.agent.execution import programs

BY_NETWORK_MANAGER = re.compile(r"^\s*renderer:\s*[\"']?NetworkManager", re.MULTILINE)
"""What netplan hands over to NetworkManager."""
FOLDERS = ("/etc/netplan", "/lib/netplan")
"""Of files of one name the first counts."""
PATTERNS = tuple(f"{folder}/*.yaml" for folder in FOLDERS)
PHYSICAL = ("ethernets", "wifis", "modems")
KINDS = {"bridges": "bridge", "bonds": "bond", "vlans": "vlan", "dummy-devices": "dummy", "vrfs": "vrf"}
MATCH = {"name": "Name", "macaddress": "MACAddress", "driver": "Driver"}
SETTINGS = {"mode": "kind", "local": "local", "remote": "remote", "key": "key", "id": "vni", "port": "port"}
"""Settings of a tunnel, each with the word of ip-link(8)."""
PYTHON = "/usr/bin/python3"  # netplan's own, which has PyYAML
PARSED = """
import json, sys, yaml
def loaded(path):
    try:
        return yaml.load(open(path), yaml.BaseLoader)
    except Exception:
        return False
print(json.dumps({path: loaded(path) for path in sys.argv[1:]}))
"""
"""Each value is a text: netplan reads `off` as a word, not as a switch."""
TIMEOUT = 10.0


def obstacle(path: str, text: str) -> BootObstacle:
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
def _rejected() -> BootObstacle:
    """The first error in any of the files, by which netplan uses none of them; remembered until `forget`."""
    with contextlib.suppress(OSError):
        done = programs.run(["netplan", "get"], TIMEOUT)
        if error := re.search(r"/\S+?\.yaml:\d+.*", str(done["errors"])):
            return f"netplan rejects {error[0]}", "sudo netplan get    # then correct it"
    return None


def parts(path: str, text: str, words: Sequence[str]) -> Iterator[Part]:
    """The definitions of a file, with what the others make of them."""
    files = _files()
    if path not in files:
        yield Part(text, obstacle=(f"{FOLDERS[0]} has a file of the same name", ""))
        return
    if not isinstance(files[path], dict) and text.strip():
        shown = f"netplan generate    # {path}"
        yield Part(text, obstacle=(f"{PYTHON} cannot read it as YAML: cannot be determined", shown))
        return
    whole: Any = {}
    for one in files.values():
        whole = _merged(whole, one) if isinstance(one, dict) else whole
    network, own = _mapping(whole, "network"), _mapping(files[path], "network")
    for section, definitions in own.items():
        for name, body in definitions.items() if isinstance(definitions, dict) else ():
            made = _mapping(network, section, name)
            renderer = made.get("renderer") or _mapping(network, section).get("renderer") or network.get("renderer")
            if isinstance(body, dict) or not body:
                yield _part(section, name, made, _in_use(body or {}, made), str(renderer or ""), path)


def _mapping(tree: Any, *names: str) -> dict[str, Any]:
    for name in names:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree if isinstance(tree, dict) else {}


@base.remembered
def _files() -> dict[str, Any]:
    """The content of each file that a boot reads, in order; False where it is no YAML.  Remembered until `forget`."""
    by_name: dict[str, str] = {}
    for folder in FOLDERS:
        for path in glob.glob(f"{folder}/*.yaml"):
            by_name.setdefault(os.path.basename(path), path)
    paths = [by_name[name] for name in sorted(by_name)]
    return parsed(paths)


def parsed(paths: Sequence[str]) -> dict[str, Any]:
    """The content of files of YAML, each value a text; False where one is none."""
    with contextlib.suppress(OSError, ValueError):
        done = programs.run([PYTHON, "-c", PARSED, *paths], TIMEOUT)
        read = json.loads(str(done["output"])) if done["status"] == 0 else {}
        return {path: read.get(path, False) for path in paths}
    return dict.fromkeys(paths, False)


def _merged(first: Any, later: Any) -> Any:
    if isinstance(first, dict) and isinstance(later, dict):
        return {**first, **{key: _merged(first.get(key), value) for key, value in later.items()}}
    if isinstance(first, list) and isinstance(later, list):
        return [*first, *later]
    return later


def _in_use(own: Any, made: Any) -> Any:
    """What is left of a file's own definition: no value that a later file replaces, no route of another table."""
    if isinstance(own, dict):
        if own.get("table", "254") not in ("254", "main") or own.get("type", "unicast") != "unicast":
            return {}
        of = made if isinstance(made, dict) else {}
        return {key: _in_use(value, of.get(key)) for key, value in own.items()}
    if isinstance(own, list):
        return [_in_use(one, one) for one in own]
    return own if own == made else None


def _part(section: str, name: str, made: Mapping[str, Any], own: Any, renderer: str, path: str) -> Part:
    # netplan's renderer counts for each part
    text = json.dumps({name: own}) + (f"\nrenderer: {renderer}" if renderer else "")
    if mode := made.get("activation-mode"):
        return Part(text, obstacle=(f"{name} has activation-mode: {mode}", f"grep -rn activation-mode {FOLDERS[0]}"))
    given = [(name, *each) for each in _values(section, made)]
    if section not in PHYSICAL:
        kind = str(made.get("mode", "")) if section == "tunnels" else KINDS.get(section, "")
        why = _elsewhere(name, kind, renderer)
        return Part(text, [name], makes=True, obstacle=why, values=given)
    match = made.get("match")
    if not isinstance(match, dict) or not match:
        return Part(text, [name], obstacle=_elsewhere(name, None, renderer), values=given)
    wanted = [(MATCH[key], _listed(value)) for key, value in match.items() if key in MATCH]
    found = [(device, devices.takes(wanted, device)) for device in devices.found()]
    taken = [str(made.get("set-name") or device.name) for device, takes in found if takes]
    if taken:
        return Part(text, taken)
    said = ", ".join(f"{key}: {_listed(value)}" for key, value in match.items())
    why_not = f"no device of this host has {said}, which the match of {name} wants"
    if any(takes is None for _, takes in found):
        why_not = f"whether a device has {said} at boot cannot be determined"
    return Part(text, obstacle=(why_not, f"grep -n -A9 match: {path}    # then correct it"))


def _elsewhere(name: str, kind: str | None, renderer: str) -> BootObstacle:
    """Why the tool that netplan writes files for does not use them."""
    if renderer == "NetworkManager":
        return network_manager.unmanaged(name, kind or "")
    return networkd.first(f"10-netplan-{name}.network", BootDevice(name, None, kind))


def _values(section: str, made: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The settings that a definition gives its device."""
    if section == "tunnels":
        yield from values.DEFAULTS.get(str(made.get("mode")), ()) if "ttl" not in made and "key" not in made else ()
        for key, setting in SETTINGS.items():
            if key in made and isinstance(made[key], str):
                yield setting, made[key]
        if "ttl" in made:
            yield "ttl", values.ttl(str(made["ttl"]))
    if section == "bridges":
        yield "stp_state", values.number(str(_mapping(made, "parameters").get("stp", "true")))
    if "mtu" in made:
        yield "mtu", str(made["mtu"])
    addresses = made.get("addresses")
    for one in addresses if isinstance(addresses, list) else ():
        address = next(iter(one), "") if isinstance(one, dict) else str(one)
        if ":" not in address:
            yield "address", address
    routes = made.get("routes")
    for route in routes if isinstance(routes, list) else ():
        if isinstance(route, dict) and values.GROUPS.match(str(route.get("to", ""))):
            yield "metric", str(route.get("metric", "0"))


def _listed(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)

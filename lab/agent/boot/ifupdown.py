"""
Which stanzas of ifupdown a boot brings up.

Sources: interfaces(5), and ifupdown's README on mappings.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Iterator, Sequence

from lab.agent.boot import base
from lab.agent.boot import devices as boot_devices
from lab.agent.boot.base import BootObstacle, Part, read
from lab.agent.boot.shell import programs, values

INTERFACES = "/etc/network/interfaces"
DEFAULTS = "/etc/default/networking"
"""What `ifup -a --read-environment` reads."""
CONFIGURED = re.compile(r"^\s*CONFIGURE_INTERFACES=[\"']?no\b", re.MULTILINE)
EXCLUDED = re.compile(r"^\s*EXCLUDE_INTERFACES=[\"']?([^\"'\n]*)", re.MULTILINE)
SOURCED = re.compile(r"^\s*source(?:-directory)?\s+(\S.*)$", re.MULTILINE)
DIRECTORY = re.compile(r"^\s*source-directory\s+(?:/etc/network/)?interfaces\.d", re.MULTILINE)
BROUGHT = re.compile(r"^\s*(auto|allow-auto|allow-hotplug)\s+(.*)$", re.MULTILINE)
STANZA = re.compile(r"^\s*iface\s+(\S+)(?:\s+\S+\s+(\S+))?", re.MULTILINE)
PARTS = re.compile(r"^(?=\s*(?:iface|auto|allow-\S+|no-\S+|mapping|source\S*)\s)", re.MULTILINE)
MAPPING = re.compile(r"^\s*mapping\s+(.*)$", re.MULTILINE)
COMMAND = re.compile(r"^\s*(?:pre-up|up|post-up)\s.*$", re.MULTILINE)
DOWN = re.compile(r"^\s*(?:pre-down|down|post-down)\s.*$", re.MULTILINE)
MAKING = re.compile(r"^\s*(?:bridge[_-]ports|bond[_-]|slaves\s|vlan[_-]raw)", re.MULTILINE)
"""The settings by which ifupdown, with its packages, makes a device."""


def obstacle(path: str, text: str) -> BootObstacle:
    """Why a boot does not read a file."""
    if found := base.program("networking.service", "ifup", "ifupdown"):
        return found
    if CONFIGURED.search(read(DEFAULTS)):
        return f"{DEFAULTS} has CONFIGURE_INTERFACES=no", f"sudo sed -i '/^CONFIGURE_INTERFACES=/d' {DEFAULTS}"
    if os.path.exists(path) and (found := base.carriage_returns(path, text)):
        return found
    main = read(INTERFACES)
    if path != INTERFACES and not any(
        _matches(path, pattern) for one in SOURCED.findall(main) for pattern in one.split()
    ):
        fix = f"echo 'source /etc/network/interfaces.d/*' | sudo tee -a {INTERFACES}"
        return f"{INTERFACES} has no `source /etc/network/interfaces.d/*`", fix
    if path != INTERFACES and DIRECTORY.search(main) and "." in path.rpartition("/")[2]:
        folder, _, name = path.rpartition("/")
        why = f"source-directory in {INTERFACES} leaves out names with a dot"
        return why, f"sudo mv {path} {folder}/{name.replace('.', '-')}"
    return None


def _matches(path: str, pattern: str) -> bool:
    """Whether a pattern of `source`, or a folder, has a file."""
    wanted = os.path.join(os.path.dirname(INTERFACES), pattern.rstrip("/"))
    return fnmatch.fnmatch(path, wanted) or os.path.dirname(path) == wanted


def parts(path: str, text: str, words: Sequence[str]) -> Iterator[Part]:
    """The stanzas: the settings of each, and its commands."""
    every = "\n".join(_read_at_boot(path))
    brought, mapped = _brought(every), [name for line in MAPPING.findall(every) for name in line.split()]
    for stanza in PARTS.split(text):
        if not (head := STANZA.match(stanza)):
            continue
        logical, device = head[1], brought.get(head[1], head[1])
        why: BootObstacle = None
        if logical not in brought:
            why = f"it has no `auto {logical}`", f"echo 'auto {logical}' | sudo tee -a {path}"
        elif any(fnmatch.fnmatch(device, pattern) for pattern in mapped):
            said = f"a `mapping` has a script choose the stanza of {device}: cannot be determined"
            why = said, f"grep -n -A9 mapping {path}"
        commands = "\n".join(COMMAND.findall(stanza))
        given = DOWN.sub("", COMMAND.sub("", stanza))
        # what a stanza's own commands make need not be there before
        own = re.search(rf"pre-up.*\badd\b.*(?<![\w.]){re.escape(device)}(?![\w.])", commands)
        makes = bool(MAKING.search(given))
        yield Part(given, [device], makes=makes, obstacle=why, values=list(_values(device, given)))
        lines = [line.strip().partition(" ")[2] for line in COMMAND.findall(stanza)]
        run = programs.of_lines(path, lines, stops=True)
        yield Part(commands, obstacle=why, needs=() if own or makes else (device,), commands=run)


def _read_at_boot(path: str = "") -> list[str]:
    """The texts that a boot reads, and that of one file."""
    used = [file for file in sorted(glob.glob(f"{INTERFACES}.d/*")) if file == path or obstacle(file, "") is None]
    return list(map(read, [INTERFACES, *used]))


def _brought(text: str) -> dict[str, str]:
    """The stanzas that a boot brings up, and their devices: of patterns and allow-hotplug, devices that it finds."""
    given = [device.name for device in boot_devices.found()]
    found: dict[str, str] = {}
    for how, names in BROUGHT.findall(text):
        for name in names.split():
            pattern, _, logical = name.partition("=")
            if pattern.startswith("/"):
                devices = [one for one in given if fnmatch.fnmatch(one, pattern.split("/")[1])]
            else:
                devices = [pattern] if how != "allow-hotplug" or pattern in given else []
            found.update({logical or device: device for device in devices if not _excluded(device)})
    return found


def _excluded(device: str) -> bool:
    """Whether a boot leaves a device out."""
    return any(fnmatch.fnmatch(device, one) for line in EXCLUDED.findall(read(DEFAULTS)) for one in line.split())


def _values(device: str, stanza: str) -> Iterator[tuple[str, str, str]]:
    """The settings that a stanza gives its device."""
    given = dict(re.findall(r"^\s+(address|netmask|mtu|bridge[_-]stp)\s+(\S+)", stanza, re.MULTILINE))
    if re.search(r"^\s*iface\s+\S+\s+inet\s+static", stanza, re.MULTILINE) and "address" in given:
        mask = given.get("netmask", "")
        prefix = f"/{mask}" if mask.isdigit() else values.prefix_of(mask)
        yield device, "address", given["address"] if "/" in given["address"] else given["address"] + prefix
    if "mtu" in given:
        yield device, "mtu", given["mtu"]
    for key in ("bridge_stp", "bridge-stp"):
        if key in given:
            yield device, "stp_state", values.number(given[key])


def script_parts(path: str, text: str, words: Sequence[str]) -> Iterator[Part]:
    """A script that runs once for each device."""
    phase = "pre-up" if "/if-pre-up.d/" in path else "post-up"
    for logical, device in _brought("\n".join(_read_at_boot())).items():
        given = {"IFACE": device, "LOGICAL": logical, "MODE": "start", "PHASE": phase}
        yield Part(text, commands=programs.of_script(path, [], given))


def script_obstacle(path: str, text: str) -> BootObstacle:
    """Why a boot does not run one of ifupdown's scripts."""
    found = base.program("networking.service", "ifup", "ifupdown")
    return found or base.left_out(path, "ifup") or base.runnable(path, text)

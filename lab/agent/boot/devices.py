"""
The devices that this machine has at boot before any file makes one, under their names then, and what matches them.

A [Match] of udev and systemd-networkd is by the device (name, MAC address, driver, ...) or by the machine (Host=,
Virtualization=, ...); the latter is what units have as Condition...=, which systemd-analyze(1) answers.
Sources: systemd.link(5), systemd.network(5), systemd.unit(5), udev(7).
"""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from lab.agent import modules, prerequisites
from lab.agent.boot.base import BootObstacle, conditions, read, remembered, settings
from lab.agent.rtnl import Transport, attributes, text
from lab.agent.stack import reading

FOLDERS = ("/etc/systemd/network", "/run/systemd/network", "/usr/local/lib/systemd/network", "/usr/lib/systemd/network")
MODPROBE = ("/etc/modprobe.d", "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d")
MODULES = {
    "gretap": "ip_gre",
    "ip6gretap": "ip6_gre",
    "vxlan": "vxlan",
    "geneve": "geneve",
    "bridge": "bridge",
    "bond": "bonding",
    "hsr": "hsr",
}
"""The modules of kinds of link."""
GIVEN = ("", "veth", "macvlan", "ipvlan")
"""Kinds of link that a machine has from outside: what else there is, a file has to make."""
TYPED = ("bridge", "bond", "vlan", "vxlan", "geneve", "hsr", "wireguard", "macvlan", "ipvlan")
"""Kinds of link that are their own type to udev; others are of type `ether`."""
OF_THE_MACHINE = (
    "Host",
    "Virtualization",
    "KernelCommandLine",
    "KernelVersion",
    "Version",
    "Architecture",
    "Firmware",
    "Credential",
)
OF_RADIO = ("WLANInterfaceType", "SSID", "BSSID")
DEFAULT = "99-default.link"
"""The distribution's own: it named the devices as they are."""
POLICIES = ("database", "onboard", "slot", "path", "mac")
PERMANENT, PROPERTIES, OTHER_NAME = 54, 52, 53  # IFLA_PERM_ADDRESS, IFLA_PROP_LIST, IFLA_ALT_IFNAME
RULE = re.compile(r'ATTR\{address\}=="(?P<mac>[^"]+)".*\bNAME="(?P<name>[\w.-]+)"')


class BootDevice(NamedTuple):
    """A device at boot: what a [Match] is about."""

    name: str
    macs: Sequence[str] | None = None
    """None: not known before the boot."""
    kind: str | None = None
    """"" of hardware; None: virtual, of a kind that is not known."""
    others: Sequence[str] = ()
    """Alternative names."""
    number: int = 0
    """0: it is made at boot."""
    renamed_by: str = ""
    """The file by which its name now, `was`, is another."""
    was: str = ""


@remembered
def found() -> Sequence[BootDevice]:
    """The devices that no file needs to make; remembered until `forget`."""
    transport = Transport()
    try:
        dumped = [(struct.unpack_from("=i", one, 4)[0], dict(attributes(one, 16))) for one in reading.dump(transport)]
    finally:
        transport.close()
    devices = []
    for index, parts in dumped:
        kind = text(dict(attributes(parts.get(18, b""), 0)).get(1))
        if kind in GIVEN:
            macs = {parts.get(1, b"").hex(":"), parts.get(PERMANENT, b"").hex(":")} - {""}
            others = [text(value) for tag, value in attributes(parts.get(PROPERTIES, b""), 0) if tag == OTHER_NAME]
            devices.append(BootDevice(text(parts.get(3)), sorted(macs), kind, others, index))
    return [_named(device) for device in devices]


def _named(device: BootDevice) -> BootDevice:
    """The device under the name that the next boot gives it."""
    name, path = next(_names(device), (device.name, ""))
    return device if name == device.name else device._replace(name=name, renamed_by=path, was=device.name)


def _names(device: BootDevice) -> Iterator[tuple[str, str]]:
    """The names by files for this device, and the files; the first counts."""
    for path in sorted(glob.glob("/etc/udev/rules.d/*.rules"), key=os.path.basename):
        for rule in RULE.finditer(read(path)):
            if rule["mac"].lower() in (device.macs or ()):
                yield rule["name"], path
    for path in configuration(".link"):
        content = read(path)
        if os.path.basename(path) == DEFAULT or not content:
            continue
        match = settings(content, "Match")
        if not takes(match, device) or condition(match):
            continue
        chosen = dict(settings(content, "Link"))
        policies = chosen.get("NamePolicy", "").split() if "net.ifnames=0" not in read("/proc/cmdline").split() else []
        if {"keep", "kernel"} & {*policies}:
            return
        known = _properties(device)
        by_policy = [known.get(f"ID_NET_NAME_{policy.upper()}", "") for policy in policies if policy in POLICIES]
        name = next(filter(None, by_policy), "") or chosen.get("Name", "")
        if name:
            yield name, path
        return


def changed(name: str, kind: str) -> BootObstacle:
    """Why a device that a file makes may be another one: its module is not loaded, or a .link file changes it."""
    module = MODULES.get(kind, "")
    for path in (path for folder in MODPROBE for path in sorted(glob.glob(f"{folder}/*.conf"))) if module else ():
        for line in read(path).splitlines():
            words = line.replace("-", "_").split()
            if words[:2] in (["blacklist", module], ["install", module]) and not _built_in(module):
                said = f"whether a boot loads {module} cannot be determined: {path} has `{line.strip()}`"
                return said, f"grep -n {module} {path}    # then correct it"
    for path in configuration(".link"):
        content = read(path)
        match, chosen = settings(content, "Match"), dict(settings(content, "Link"))
        original = [value for key, value in match if key == "OriginalName"]
        if os.path.basename(path) == DEFAULT or not match or not all(listed(one, name) for one in original):
            continue
        rest = [(key, value) for key, value in match if key != "OriginalName"]
        if rest and takes(rest, BootDevice(name, None, kind)) is not True:
            continue
        kept = "keep" in chosen.get("NamePolicy", "").split()
        changes = [key for key in ("Name", "MTUBytes", "MACAddress") if key in chosen and not (key == "Name" and kept)]
        if changes and condition(match) is None:
            said = f"whether {path} changes {name} at boot cannot be determined: it has {changes[0]}="
            return said, f"grep -n -A9 '^.Match' {path}    # then correct it"
        return None
    return None


def _built_in(module: str) -> bool:
    return modules.built_in(module, prerequisites.modules_directory()) is True


def configuration(ending: str) -> list[str]:
    """Files of udev and systemd-networkd in the order in which they are read: by name, of equal names the first."""
    by_name: dict[str, str] = {}
    for folder in FOLDERS:
        for path in glob.glob(f"{folder}/*{ending}"):
            by_name.setdefault(os.path.basename(path), path)
    return [by_name[name] for name in sorted(by_name)]


def takes(match: Sequence[tuple[str, str]], device: BootDevice) -> bool | None:
    """Whether the settings of a [Match] that are by the device hold for it; None: not known before the boot."""
    held: bool | None = True
    for key, value in _joined(match).items():
        one = _holds(key, value, device)
        if one is False:
            return False
        held = held if one else None
    return held


def _joined(match: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The settings of a [Match] by name: one that is repeated adds to it, an empty one clears it."""
    joined: dict[str, str] = {}
    for key, value in match:
        joined[key] = f"{joined.get(key, '')} {value}".strip() if value else ""
    return {key: value for key, value in joined.items() if value}


def _holds(key: str, value: str, device: BootDevice) -> bool | None:
    given = device.number != 0
    if key == "Name":
        return listed(value, device.name, *device.others)
    if key == "OriginalName":
        return True if value == "*" else None
    if key in ("MACAddress", "PermanentMACAddress"):
        wanted = {one.lower().replace("-", ":") for one in value.split()}
        return None if device.macs is None else not wanted.isdisjoint(device.macs)
    if key == "Type":
        if device.kind is None:
            return None
        return listed(value, device.kind if device.kind in TYPED else "loopback" if device.name == "lo" else "ether")
    if key == "Kind":
        if device.kind is None:
            return False if value == "!*" else None
        return listed(value, device.kind) if device.kind else value.startswith("!")
    if key in ("Driver", "Path", "Property") and device.name == "lo":
        return value.startswith("!")
    if key == "Driver":
        driver = device.kind or (_driver(device) if given else "")
        return listed(value, driver) if driver else None
    if key == "Path":
        path = _properties(device).get("ID_PATH", "")
        return listed(value, path) if path else None if given and device.kind == "" else value.startswith("!")
    if key == "Property":
        known = _properties(device)
        pairs = [one.strip("\"'").partition("=") for one in value.split()]
        return all(known.get(name) == wished for name, _, wished in pairs) if known else None
    return key not in OF_RADIO


def listed(patterns: str, *names: str) -> bool:
    """Whether one of the names is in a list of patterns; one that begins with `!` is of all others."""
    others = patterns.startswith("!")
    wanted = patterns.lstrip("!").split()
    return others != any(fnmatch.fnmatchcase(name, pattern) for name in names for pattern in wanted)


def _driver(device: BootDevice) -> str:
    folder = f"/sys/class/net/{device.was or device.name}/device/driver"
    return (
        os.path.basename(os.path.realpath(folder))
        if os.path.exists(folder)
        else _properties(device).get("ID_NET_DRIVER", "")
    )


def _properties(device: BootDevice) -> dict[str, str]:
    """The properties that udev has of a device."""
    lines = read(f"/run/udev/data/n{device.number}").splitlines() if device.number else []
    return dict(line[2:].split("=", 1) for line in lines if line.startswith("E:") and "=" in line)


def condition(match: Sequence[tuple[str, str]]) -> BootObstacle:
    """Why the settings of a [Match] that are by the machine do not hold, or cannot be determined."""
    wanted = [f"Condition{key}={value}" for key, value in _joined(match).items() if key in OF_THE_MACHINE]
    return next(filter(None, (conditions([one]) for one in wanted)), None)


def netdevs(files: Mapping[str, str]) -> list[BootDevice]:
    """The devices that .netdev files make, of their texts by path."""
    made = []
    for content in files.values():
        values = dict(settings(content, "NetDev"))
        if "Name" in values and condition(settings(content, "Match")) is None:
            mac = values.get("MACAddress", "").lower()
            made.append(BootDevice(values["Name"], [mac] if mac not in ("", "none") else None, values.get("Kind")))
    return made

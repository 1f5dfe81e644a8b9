"""
Which files of systemd-networkd a boot uses, and for which devices: a .network file is for those that its [Match] takes.

Sources: systemd.network(5), systemd.netdev(5).
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence

from lab.agent.boot import base
from lab.agent.boot import devices as boot_devices
from lab.agent.boot.base import ADDRESS, BootObstacle, Part, read, settings
from lab.agent.boot.devices import BootDevice
from lab.agent.boot.shell import values

FOLDER = "/etc/systemd/network"
OWN = (FOLDER, "/usr/local/lib/systemd/network")
UNUSED = {
    "Unmanaged": lambda value: value in ("yes", "true", "1", "on"),
    "ActivationPolicy": lambda value: value in ("manual", "down", "always-down"),
}
"""The settings of [Link] by which networkd does not set a link up."""
STACKED = ("Tunnel", "VXLAN")
"""Kinds of section of a .netdev file whose device is made for a NIC, unless it is independent."""
SETTINGS = {
    "Remote": "remote",
    "Group": "remote",
    "Local": "local",
    "TTL": "ttl",
    "Key": "key",
    "InputKey": "key",
    "VNI": "vni",
    "Id": "vni",
    "DestinationPort": "port",
    "STP": "stp_state",
    "MulticastSnooping": "mcast_snooping",
}
"""Settings of systemd.netdev(5), each with the word of ip-link(8)."""
INDEPENDENT = re.compile(r"^Independent\s*=\s*(?:yes|true|1|on)\s*$", re.MULTILINE | re.IGNORECASE)


def obstacle(path: str, text: str) -> BootObstacle:
    """Why a boot uses no file of networkd, or not this one."""
    found = base.program("systemd-networkd.service", "systemd-networkd", "systemd")
    return found or (_unreadable(path) if path.startswith(OWN) else None)


def _unreadable(path: str) -> BootObstacle:
    """Why networkd, which does not run as root, may not read a file."""
    state = os.stat(path)
    if state.st_mode & 0o004 or (state.st_mode & 0o040 and state.st_gid):
        return None
    return "networkd does not run as root and may not read it", f"sudo chmod 644 {path}"


def parts(path: str, text: str, words: Sequence[str]) -> Iterator[Part]:
    """A file as a whole, or a drop-in, which counts as its file does."""
    whole_path = path
    if path.endswith(".conf"):
        name = os.path.basename(os.path.dirname(path))[: -len(".d")]
        whole_path = next((file for file in _all(name) if os.path.basename(file) == name), "")
        if not whole_path:
            yield Part(text, obstacle=(f"there is no {name}, which it adds to", ""))
            return
    elif path not in _all(path):
        first = next(one for one in _all(path) if os.path.basename(one) == os.path.basename(path))
        yield Part(text, obstacle=(f"{first} has the same name and comes first", f"ls -l {first} {path}"))
        return
    content, text = whole(whole_path), _in_use(text)
    if condition := boot_devices.condition(settings(content, "Match")):
        shown = f"grep -n -A9 '^.Match' {whole_path}.d/*.conf    # then correct it" if _drop_ins(whole_path) else ""
        said = f"its [Match]: {condition[0].replace('Condition', '', 1)}"
        yield Part(text, obstacle=(said, condition[1] or shown))
    elif whole_path.endswith(".netdev"):
        yield _netdev(whole_path, text, content)
    else:
        yield _network(whole_path, text, content, words)


def whole(path: str) -> str:
    """The text of a file with its drop-ins."""
    return "\n".join(map(read, [path, *_drop_ins(path)]))


def _drop_ins(path: str) -> list[str]:
    found = [file for folder in boot_devices.FOLDERS for file in glob.glob(f"{folder}/{os.path.basename(path)}.d/*")]
    return sorted(found, key=os.path.basename)


def _in_use(text: str) -> str:
    """The text without routes that are of no use to the overlay, or in no section of routes."""
    parts = []
    for name, body in base.SECTION.findall(text):
        values = dict(base.SETTING.findall(body))
        if name == "Route" and (
            values.get("Table", "main") not in ("main", "254") or values.get("Type", "unicast") != "unicast"
        ):
            continue
        lines = [line for line in body.splitlines() if name == "Route" or not line.lstrip().startswith("Destination")]
        parts.append("\n".join([f"[{name}]", *lines]))
    return "\n".join(parts)


def _all(name: str) -> list[str]:
    return boot_devices.configuration(name[name.rfind(".") :])


def _netdev(path: str, text: str, content: str) -> Part:
    values = dict(settings(content, "NetDev"))
    name, section = values.get("Name", ""), next((one for one in STACKED if f"[{one}]" in content), "")
    if not name or not values.get("Kind"):
        lack = "Kind" if name else "Name"
        return Part(
            text, obstacle=(f"networkd ignores a .netdev file without {lack}=", f"grep -n = {path}    # then add it")
        )
    if not section or INDEPENDENT.search(content):
        return Part(text, [name], makes=True, values=_of_netdev(name, content))
    wanted, given = re.compile(rf"^{section}\s*=\s*{re.escape(name)}\s*$", re.MULTILINE), boot_devices.found()
    for file in _all(".network"):
        other = whole(file)
        if wanted.search(other) and any(_takes(file, other, device) for device in given):
            return Part(text, [name], makes=True, values=_of_netdev(name, content))
    why = f"it has no Independent=yes, and no .network file of a NIC of this host has {section}={name}"
    return Part(text, [name], obstacle=(why, f"sudo sed -i '/^\\[{section}\\]/a Independent=yes' {path}"))


def _of_netdev(name: str, content: str) -> list[tuple[str, str, str]]:
    """The settings of the device that a .netdev file makes."""
    made = dict(settings(content, "NetDev"))
    kind = made.get("Kind", "")
    found = {"kind": kind, **dict(values.DEFAULTS.get(kind, ())), **({"stp_state": "0"} if kind == "bridge" else {})}
    if made.get("MTUBytes", "").isdigit():
        found["mtu"] = made["MTUBytes"]
    for key, value in settings(content, "Tunnel", "VXLAN", "GENEVE", "Bridge"):
        if setting := SETTINGS.get(key):
            found[setting] = values.ttl(value) if setting == "ttl" else value
    for switch in ("stp_state", "mcast_snooping"):
        if switch in found:
            found[switch] = values.number(found[switch])
    return [(name, setting, value) for setting, value in found.items() if value]


def _of_network(content: str) -> Iterator[tuple[str, str]]:
    """The settings that a .network file gives its devices."""
    addresses: list[str] = []
    for key, value in settings(content, "Network", "Address"):
        if key == "Address" and ":" not in value:
            # an empty one takes back those before it
            addresses = [*addresses, value if "/" in value else f"{value} without a prefix"] if value else []
    yield from (("address", address) for address in addresses)
    for key, value in settings(content, "Link"):
        if key == "MTUBytes" and value.isdigit():
            yield "mtu", value
    for name, body in base.SECTION.findall(content):
        route = dict(base.SETTING.findall(body))
        if name == "Route" and values.GROUPS.match(route.get("Destination", "")):
            yield "metric", route.get("Metric", "0")


def _network(path: str, text: str, content: str, words: Sequence[str]) -> Part:
    """A .network file with the devices that it configures: those that it takes, and no earlier file."""
    if not (match := settings(content, "Match")):
        return Part(text, obstacle=("networkd ignores a file whose [Match] is empty", f"grep -n -A9 Match {path}"))
    for key, value in settings(content, "Link"):
        if UNUSED.get(key, lambda _: False)(value.lower()):
            fix = f"sudo sed -i '/^{key}=/d' {path}"
            return Part(text, obstacle=(f"it has {key}={value}", fix))
    devices = _devices(words)
    # a device that something else makes is known by name alone
    taken = {device.name: boot_devices.takes(match, device) for device in devices}
    before = {device.name: _before(path, device) for device in devices if taken[device.name]}
    if own := [name for name, file in before.items() if not file]:
        return Part(text, own, values=[(name, *each) for name in own if name in words for each in _of_network(content)])
    if before:
        first = next(filter(None, before.values()))
        renamed = f"{FOLDER}/00-{os.path.basename(path)}"
        return Part(text, obstacle=(f"{first} matches the same device and comes first", f"sudo mv {path} {renamed}"))
    said = ", ".join(f"{key}={value}" for key, value in match)
    shown = f"grep -n -A9 '^.Match' {path}    # then correct it"
    if None in taken.values():
        return Part(text, obstacle=(f"whether a device has {said} at boot cannot be determined", shown))
    return Part(text, obstacle=(f"no device of this host has {said}, which its [Match] wants", shown))


def _devices(words: Sequence[str]) -> list[BootDevice]:
    """The devices that there may be at boot."""
    made = boot_devices.netdevs({path: whole(path) for path in _all(".netdev")})
    found = {device.name: device for device in (*made, *boot_devices.found())}
    return [*found.values(), *(BootDevice(word) for word in words if word not in found and not ADDRESS.fullmatch(word))]


def _before(path: str, device: BootDevice) -> str:
    """The file by which networkd configures a device instead: the first by name that takes it."""
    files = _all(".network")
    earlier = files[: files.index(path)] if path in files else []
    return next((file for file in earlier if _takes(file, whole(file), device)), "")


def first(name: str, device: BootDevice) -> BootObstacle:
    """Why networkd does not use a .network file of this name, which is generated, for a device."""
    for path in _all(".network"):
        if os.path.basename(path) <= name and not path.startswith("/run/") and _takes(path, whole(path), device):
            later = f"{FOLDER}/99-{os.path.basename(path)}"
            return f"{path} matches the same device and comes first", f"sudo mv {path} {later}"
    return None


def _takes(path: str, content: str, device: BootDevice) -> bool:
    match = settings(content, "Match")
    return bool(match) and boot_devices.takes(match, device) is True and boot_devices.condition(match) is None

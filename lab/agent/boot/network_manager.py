"""
Which connections of NetworkManager a boot activates, and for which devices; and RHEL's files of network-scripts.

network-scripts make bridges, bonds and VLANs; they have no tunnel of layer 2 (ifup-tunnel: GRE, IPIP and SIT), and
NetworkManager reads none from them either.
Sources: nm-settings-keyfile(5), nm-settings(5), nm-settings-ifcfg-rh(5), NetworkManager.conf(5), sysconfig.txt.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Iterator, Sequence

from lab.agent.boot import base
from lab.agent.boot import devices as boot_devices
from lab.agent.boot.base import Obstacle, Part, read, settings
from lab.agent.boot.devices import BootDevice

MAIN = "/etc/NetworkManager/NetworkManager.conf"
UNMANAGED = re.compile(r"^unmanaged-devices\s*\+?=\s*(.*)$", re.MULTILINE)
OTHERS = 0o077
PHYSICAL = ("ethernet", "802-3-ethernet")
UUID = re.compile(r"[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}", re.IGNORECASE)
MAC = re.compile(r"[\da-f]{2}(?:[:-][\da-f]{2}){5}", re.IGNORECASE)
MATCH = {"interface-name": "Name", "driver": "Driver", "path": "Path", "kernel-command-line": "KernelCommandLine"}
PLUGIN = "/usr/lib*/NetworkManager/*/libnm-settings-plugin-ifcfg-rh.so"
MADE_BY_SCRIPTS = ("bridge", "bond", "vlan", "team")
IFCFG = re.compile(r"^\s*(\w+)=[\"']?([^\"'\n]*?)[\"']?\s*$", re.MULTILINE)


def obstacle(path: str, text: str) -> Obstacle:
    """Why NetworkManager does not use a file of its own."""
    if found := base.program("NetworkManager.service", "NetworkManager", "network-manager"):
        return found
    if off := re.search(r"^autoconnect\s*=\s*(false|no|0)\s*$", text, re.MULTILINE):
        return f"it has {off.group().strip()}", f"sudo sed -i '/^autoconnect=/d' {path} && sudo nmcli connection reload"
    state = os.stat(path)
    if state.st_mode & OTHERS or state.st_uid:
        return "NetworkManager refuses a file that others may read", f"sudo chown root {path} && sudo chmod 600 {path}"
    return None


def parts(path: str, text: str, words: Sequence[str]) -> Iterator[Part]:
    """A connection, with the devices that it is for."""
    values = dict(settings(text, "connection"))
    kind, name = values.get("type", ""), values.get("interface-name", "")
    edit = f"sudo nmcli connection modify {values.get('id', name)!r}"
    given = boot_devices.found()
    names = {device.name for device in given}
    parents = [value for key, value in settings(text, "ip-tunnel", "vxlan", "vlan") if key == "parent"]
    needs = [one for one in parents if one and not UUID.fullmatch(one) and not MAC.fullmatch(one)]
    devices = [name] if name else []
    why: Obstacle = None
    if users := values.get("permissions"):
        why = f"it has permissions={users}: it is for their sessions alone", f"{edit} connection.permissions ''"
    elif name and (found := _unmanaged(name)):
        why = found
    elif kind in PHYSICAL:
        wanted = [(MATCH[key], value.replace(";", " ")) for key, value in settings(text, "match") if key in MATCH]
        wanted += [("Name", name)] if name else []
        wanted += [("MACAddress", mac) for key, mac in settings(text, *PHYSICAL) if key == "mac-address" and mac]
        taken = [device.name for device in given if _takes(wanted, device)]
        devices = taken if name in names or not name else devices
        # of a device that something else makes, only its name is known
        if not devices or (not taken and (name in names or wanted[1:])):
            said = ", ".join(f"{key}={value}" for key, value in wanted)
            why = f"no device of this host has {said}", f"grep -n -e name -e mac -e match {path}    # then correct it"
    elif not name:
        why = "it has no interface-name", f"{edit} connection.interface-name NAME"
    yield Part(text, devices, makes=kind not in PHYSICAL, obstacle=why, needs=needs)


def _takes(wanted: Sequence[tuple[str, str]], device: BootDevice) -> bool:
    by_device = all(boot_devices.takes([one], device) for one in wanted)
    return by_device and device.name != "lo" and boot_devices.condition(wanted) is None


def _unmanaged(name: str) -> Obstacle:
    """The file by which NetworkManager leaves a device alone."""
    for file in (MAIN, *sorted(glob.glob(f"{os.path.dirname(MAIN)}/conf.d/*.conf"))):
        entries = [one for one in re.split(r"[;,]\s*", ";".join(UNMANAGED.findall(read(file)))) if one]
        kept = [one[len("except:") :] for one in entries if one.startswith("except:")]
        others = [one for one in entries if not one.startswith("except:")] or (["*"] if kept else [])
        entry = next((one for one in others if _named(one, name)), "")
        if entry and not any(_named(one, name) for one in kept):
            fix = f"sudo sed -i 's/{re.escape(entry)}[;,]*//' {file} && sudo systemctl reload NetworkManager"
            if kept:
                fix = f"sudo sed -i '/^unmanaged-devices/s/$/;except:interface-name:{name}/' {file}"
                fix += " && sudo systemctl reload NetworkManager"
            return f"{file} has {entry if entry in entries else entries[0]} in unmanaged-devices", fix
    return None


def _named(entry: str, name: str) -> bool:
    """Whether an entry of a list of devices is by name, and for this one."""
    how, colon, pattern = entry.partition(":")
    if not colon or how == "interface-name":
        return fnmatch.fnmatch(name, (pattern if colon else entry).lstrip("="))
    return False


def script_obstacle(path: str, text: str) -> Obstacle:
    """Why NetworkManager's dispatcher does not run a script."""
    found = base.program("NetworkManager.service", "NetworkManager", "network-manager")
    return found or base.executed(path, text)


def ifcfg_obstacle(path: str, text: str) -> Obstacle:
    """Why a boot does not use a file of network-scripts."""
    values = dict(IFCFG.findall(read(_ifcfg(path))))
    if values.get("ONBOOT", "yes").lower() == "no":
        return "it has ONBOOT=no", f"sudo sed -i 's/^ONBOOT=.*/ONBOOT=yes/' {path}"
    if base.enabled("network.service") or glob.glob("/etc/rc3.d/S*network"):
        return None
    if not base.enabled("NetworkManager.service"):
        return "neither NetworkManager nor network.service is enabled", "sudo systemctl enable NetworkManager"
    if values.get("NM_CONTROLLED", "yes").lower() == "no":
        return "it has NM_CONTROLLED=no, and network.service is not enabled", "sudo systemctl enable network.service"
    if not glob.glob(PLUGIN):
        return "this NetworkManager has no plugin that reads it (ifcfg-rh)", "sudo nmcli connection migrate"
    return None


def ifcfg_parts(path: str, text: str, words: Sequence[str]) -> Iterator[Part]:
    """A file of network-scripts, with its device: ifcfg-NAME, and the routes and rules of NAME."""
    values = dict(IFCFG.findall(read(_ifcfg(path))))
    device = values.get("DEVICE") or os.path.basename(path).partition("-")[2]
    mac = values.get("HWADDR", "").lower()
    shown = f"grep -n -e DEVICE -e HWADDR {_ifcfg(path)}    # then correct it"
    makes = values.get("TYPE", "").lower() in MADE_BY_SCRIPTS or values.get("VLAN", "").lower() == "yes"
    why: Obstacle = None
    if not os.path.exists(_ifcfg(path)):
        why = f"there is no {_ifcfg(path)}", shown
    elif mac and not any(mac in (one.macs or ()) for one in boot_devices.found()):
        why = f"no device of this host has HWADDR={mac}", shown
    yield Part(text, [device], makes=makes, obstacle=why)


def _ifcfg(path: str) -> str:
    """The ifcfg file of a file with routes or rules."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/ifcfg-{name.partition('-')[2]}"

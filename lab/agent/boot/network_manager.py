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
from lab.agent.boot.base import BootObstacle, Part, read, settings
from lab.agent.boot.devices import BootDevice
from lab.agent.boot.shell import values

MAIN = "/etc/NetworkManager/NetworkManager.conf"
STATE = "/var/lib/NetworkManager/NetworkManager.state"
UNMANAGED = re.compile(r"^unmanaged-devices\s*(\+?)=\s*(.*)$", re.MULTILINE)
OTHERS = 0o077
PHYSICAL = ("ethernet", "802-3-ethernet")
IGNORED = re.compile(r"~$|\.(?:swpx?|rpmnew|rpmorig|rpmsave)$")
COPIES = re.compile(r"~$|\.(?:bak|old|orig|rpmnew|rpmorig|rpmsave)$")
OFF = re.compile(r"^(?:method=(?:disabled|link-local)|route-table=(?!0$|254$).*)$", re.MULTILINE)
ELSEWHERE = re.compile(r"^route(\d+)_options=.*\b(?:table=(?!254\b)|type=(?!unicast\b))", re.MULTILINE)
UUID = re.compile(r"[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}", re.IGNORECASE)
MAC = re.compile(r"[\da-f]{2}(?:[:-][\da-f]{2}){5}", re.IGNORECASE)
MATCH = {"interface-name": "Name", "driver": "Driver", "path": "Path", "kernel-command-line": "KernelCommandLine"}
PLUGIN = "/usr/lib*/NetworkManager/*/libnm-settings-plugin-ifcfg-rh.so"
MADE_BY_SCRIPTS = ("bridge", "bond", "vlan", "team")
KINDS = {"vxlan": "vxlan", "bridge": "bridge", "bond": "bond", "hsr": "hsr", "dummy": "dummy", "tun": "tun"}
MODES = {"10": "gretap", "11": "ip6gretap", "1": "ipip", "2": "gre", "3": "sit"}
"""NMIPTunnelMode."""
SETTINGS = {
    "remote": "remote",
    "local": "local",
    "ttl": "ttl",
    "mtu": "mtu",
    "input-key": "key",
    "id": "vni",
    "destination-port": "port",
    "stp": "stp_state",
    "multicast-snooping": "mcast_snooping",
}
"""Settings of nm-settings(5), each with the word of ip-link(8)."""
IFCFG = re.compile(r"^\s*(\w+)=[\"']?([^\"'\n]*?)[\"']?\s*$", re.MULTILINE)


def obstacle(path: str, text: str) -> BootObstacle:
    """Why NetworkManager does not use a file of its own."""
    if found := base.program("NetworkManager.service", "NetworkManager", "network-manager"):
        return found
    if found := _elsewhere(path):
        return found
    if off := re.search(r"^autoconnect\s*=\s*(?:false|no|0|off)\s*$", text, re.MULTILINE | re.IGNORECASE):
        return f"it has {off.group().strip()}", f"sudo sed -i '/^autoconnect=/d' {path} && sudo nmcli connection reload"
    if IGNORED.search(path):
        return "NetworkManager leaves out its name", f"sudo mv {path} {path}.nmconnection"
    state = os.stat(path)
    if state.st_mode & OTHERS or state.st_uid:
        return "NetworkManager refuses a file that others may read", f"sudo chown root {path} && sudo chmod 600 {path}"
    return None


def _elsewhere(path: str) -> BootObstacle:
    """Why NetworkManager activates no connection, or reads another folder."""
    if dict(settings(read(STATE), "main")).get("NetworkingEnabled", "true").lower() == "false":
        return f"{STATE} has NetworkingEnabled=false", "sudo nmcli networking on"
    given = [
        (value, file) for file in _configuration() for key, value in settings(read(file), "keyfile") if key == "path"
    ]
    if given and path.startswith("/etc/") and given[-1][0].rstrip("/") != os.path.dirname(path):
        folder, file = given[-1]
        return f"{file} has NetworkManager read {folder} in its place", f"grep -n path {file}    # then correct it"
    return None


def parts(path: str, text: str, words: Sequence[str]) -> Iterator[Part]:
    """A connection, with the devices that it is for."""
    own, text = dict(settings(text, "connection")), _in_use(text)
    kind, name = own.get("type", ""), own.get("interface-name", "")
    edit = f"sudo nmcli connection modify {own.get('id', name)!r}"
    given = boot_devices.found()
    names = {device.name for device in given}
    parents = [value for key, value in settings(text, "ip-tunnel", "vxlan", "vlan") if key == "parent"]
    parents += [own[key] for key in ("master", "controller") if own.get(key)]
    needs = [one for one in parents if one and not UUID.fullmatch(one) and not MAC.fullmatch(one)]
    devices = [name] if name else []
    why: BootObstacle = None
    if not kind:
        why = "NetworkManager refuses a file without a type", f"grep -n type= {path}    # then correct it"
    elif users := own.get("permissions"):
        why = f"it has permissions={users}: it is for their sessions alone", f"{edit} connection.permissions ''"
    elif name and (found := unmanaged(name, kind)):
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
    given_values = [(device, *each) for device in devices if device in words for each in _values(kind, text)]
    yield Part(text, devices, makes=kind not in PHYSICAL, obstacle=why, needs=needs, values=given_values)


def _values(kind: str, text: str) -> Iterator[tuple[str, str]]:
    """The settings that a connection gives its device."""
    found = {"kind": KINDS[kind]} if kind in KINDS else {}
    if kind == "ip-tunnel":
        mode = dict(settings(text, "ip-tunnel")).get("mode", "")
        found = {"kind": MODES.get(mode, f"ip-tunnel, mode {mode}"), "ttl": "inherit", "key": "none"}
    if kind == "bridge":
        found["stp_state"] = "1"
    for key, value in settings(text, "ip-tunnel", "vxlan", "bridge", "ethernet", "802-3-ethernet"):
        if setting := SETTINGS.get(key):
            found[setting] = values.ttl(value) if setting == "ttl" else value
    for switch in ("stp_state", "mcast_snooping"):
        if switch in found:
            found[switch] = values.number(found[switch])
    yield from found.items()
    for key, value in settings(text, "ipv4"):
        if re.fullmatch(r"address(?:es)?\d*", key):
            for address in value.split(";"):
                given = address.partition(",")[0].strip()
                if given:
                    yield "address", given if "/" in given else f"{given}/32"
        elif re.fullmatch(r"routes?\d*", key) and values.GROUPS.match(value):
            metric = [one for one in value.split(",")[1:] if one.isdigit()]
            if metric:
                yield "metric", metric[0]


def _in_use(text: str) -> str:
    """The text without settings of IPv4 that do not count, and without routes in other tables."""
    for name, body in base.SECTION.findall(text):
        if name == "ipv4":
            without = "" if OFF.search(body) else body
            for number in ELSEWHERE.findall(body):
                without = re.sub(rf"^route{number}(?:_options)?=.*$", "", without, flags=re.MULTILINE)
            text = text.replace(body, without)
    return text


def _takes(wanted: Sequence[tuple[str, str]], device: BootDevice) -> bool:
    by_device = all(boot_devices.takes([one], device) for one in wanted)
    return by_device and device.name != "lo" and boot_devices.condition(wanted) is None


def unmanaged(name: str, kind: str) -> BootObstacle:
    """The file by which NetworkManager leaves a device alone: of several lists, the last counts."""
    last, entries, off = "", list[str](), ""
    for file in _configuration():
        text = read(file)
        for how, value in UNMANAGED.findall(text):
            last, entries = file, [*(entries if how else ()), *(one for one in re.split(r"[;,]\s*", value) if one)]
        for section, body in base.SECTION.findall(text):
            values = dict(base.SETTING.findall(body))
            matching = [one for one in re.split(r"[;,]\s*", values.get("match-device", "*")) if one]
            if section.startswith("device") and _listed(matching, name, kind):
                off = {"": off, "0": file, "false": file, "no": file}.get(values.get("managed", "").lower(), "")
    if _listed(entries, name, kind):
        entry = next((one for one in entries if _named(one, name, kind)), entries[0])
        fix = f"sudo sed -i 's/{re.escape(entry)}[;,]*//' {last} && sudo systemctl reload NetworkManager"
        if any(one.startswith("except:") for one in entries):
            fix = f"sudo sed -i '/^unmanaged-devices/s/$/;except:interface-name:{name}/' {last}"
            fix += " && sudo systemctl reload NetworkManager"
        return f"{last} has {entry} in unmanaged-devices", fix
    return (f"{off} has managed=0 for {name}", f"grep -n -B3 managed {off}    # then correct it") if off else None


def _configuration() -> list[str]:
    """The files of NetworkManager's own settings, in order: a file replaces one of the same name of a folder before."""
    by_name: dict[str, str] = {}
    for folder in ("/usr/lib/NetworkManager", "/run/NetworkManager", os.path.dirname(MAIN)):
        for path in sorted(glob.glob(f"{folder}/conf.d/*.conf")):
            by_name[os.path.basename(path)] = path
    ours = sorted(by_name.values(), key=lambda path: (path.startswith("/etc/"), os.path.basename(path)))
    first = [path for path in ours if not path.startswith("/etc/")]
    return [*first, MAIN, *(path for path in ours if path not in first)]


def _listed(entries: Sequence[str], name: str, kind: str) -> bool:
    """Whether a list of devices has one; a list of exceptions alone has all others."""
    kept = [one[len("except:") :] for one in entries if one.startswith("except:")]
    others = [one for one in entries if not one.startswith("except:")] or (["*"] if kept else [])
    return any(_named(one, name, kind) for one in others) and not any(_named(one, name, kind) for one in kept)


def _named(entry: str, name: str, kind: str) -> bool:
    """Whether an entry of a list of devices is by name, or type, and for this one."""
    how, colon, pattern = entry.partition(":")
    if how == "type" and colon:
        return pattern == kind
    if not colon or how == "interface-name":
        return fnmatch.fnmatch(name, (pattern if colon else entry).lstrip("="))
    return False


def script_obstacle(path: str, text: str) -> BootObstacle:
    """Why NetworkManager's dispatcher does not run a script."""
    found = base.program("NetworkManager.service", "NetworkManager", "network-manager")
    if found := found or base.started("NetworkManager-dispatcher.service"):
        return found
    state = os.stat(path)
    if state.st_mode & 0o022 or state.st_uid:
        return "the dispatcher refuses a file that others may write", f"sudo chown root {path} && sudo chmod 755 {path}"
    return base.runnable(path, text)


def ifcfg_obstacle(path: str, text: str) -> BootObstacle:
    """Why a boot does not use a file of network-scripts."""
    if COPIES.search(path):
        return "network-scripts leave out its name", f"sudo mv {path} {COPIES.sub('', path)}"
    own = dict(IFCFG.findall(read(_ifcfg(path))))
    if own.get("ONBOOT", "yes").lower() == "no":
        return "it has ONBOOT=no", f"sudo sed -i 's/^ONBOOT=.*/ONBOOT=yes/' {path}"
    if base.enabled("network.service") or glob.glob("/etc/rc3.d/S*network"):
        return None
    if not base.enabled("NetworkManager.service"):
        return "neither NetworkManager nor network.service is enabled", "sudo systemctl enable NetworkManager"
    if own.get("NM_CONTROLLED", "yes").lower() == "no":
        return "it has NM_CONTROLLED=no, and network.service is not enabled", "sudo systemctl enable network.service"
    if not glob.glob(PLUGIN):
        return "this NetworkManager has no plugin that reads it (ifcfg-rh)", "sudo nmcli connection migrate"
    return None


def ifcfg_parts(path: str, text: str, words: Sequence[str]) -> Iterator[Part]:
    """A file of network-scripts, with its device: ifcfg-NAME, and the routes and rules of NAME."""
    own = dict(IFCFG.findall(read(_ifcfg(path))))
    device = own.get("DEVICE") or os.path.basename(path).partition("-")[2]
    mac = own.get("HWADDR", "").lower()
    shown = f"grep -n -e DEVICE -e HWADDR {_ifcfg(path)}    # then correct it"
    makes = own.get("TYPE", "").lower() in MADE_BY_SCRIPTS or own.get("VLAN", "").lower() == "yes"
    why: BootObstacle = None
    if not os.path.exists(_ifcfg(path)):
        why = f"there is no {_ifcfg(path)}", shown
    elif mac and not any(mac in (one.macs or ()) for one in boot_devices.found()):
        why = f"no device of this host has HWADDR={mac}", shown
    found = []
    for key, value in own.items() if path == _ifcfg(path) else ():
        if number := re.fullmatch(r"IPADDR(\d*)", key):
            prefix, mask = own.get(f"PREFIX{number[1]}"), own.get(f"NETMASK{number[1]}")
            found.append((device, "address", f"{value}/{prefix}" if prefix else f"{value}{values.prefix_of(mask)}"))
        elif key in ("MTU", "STP"):
            found.append((device, {"MTU": "mtu", "STP": "stp_state"}[key], values.number(value)))
    yield Part(text, [device], makes=makes, obstacle=why, values=found)


def _ifcfg(path: str) -> str:
    """The ifcfg file of a file with routes or rules."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/ifcfg-{name.partition('-')[2]}"

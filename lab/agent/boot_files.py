"""
Which files that a boot may read name something (a device, an address, a route), and why a boot would not use one.

Comments in a file do not count.  A file may be unused: its tool is not enabled or not installed, it
may not be executable, or it contains a condition for a command.
Sources: systemd.unit(5), systemd.network(5), interfaces(5), netplan(5), nm-settings-keyfile(5), crontab(5), nft(8),
netfilter-persistent(8), systemd-rc-local-generator(8), and cloud-init's per-boot scripts.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Optional

UNITS = "/etc/systemd/system"
WANTS = (
    UNITS,
    "/run/systemd/generator",
    "/run/systemd/generator.late",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
LARGEST = 1 << 16  # octets of a file that are read
SCRIPT = re.compile(r"^Exec(?:Start|StartPost|StartPre)=[-@+!:]*(?:/bin/(?:ba)?sh(?: -\w+)* )?(/\S+)", re.MULTILINE)
OWN_SCRIPTS = ("/usr/local/", "/opt/", "/root/", "/etc/", "/home/", "/srv/")
"""Where the scripts of units are read: what a distribution installs elsewhere makes no overlay."""
AUTO = re.compile(r"^\s*(?:auto|allow-hotplug)\s+(.*)$", re.MULTILINE)
STANZA = re.compile(r"^\s*iface\s+(\S+)", re.MULTILINE)
INTERFACES = "/etc/network/interfaces"
SOURCED = re.compile(r"^\s*source(?:-directory)?\s+(?:/etc/network/)?interfaces\.d", re.MULTILINE)
NFTABLES = ("/etc/nftables.conf", "/etc/sysconfig/nftables.conf")
INCLUDED = re.compile(r"^\s*include\s+\"([^\"]+)\"", re.MULTILINE)
PROGRAMS = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/lib/systemd:/lib/systemd"
OTHERS = stat.S_IRWXG | stat.S_IRWXO

Obstacle = Optional[tuple[str, str]]
"""Why a boot does not use a file, and the command that changes that; None: it does."""


class Source(NamedTuple):
    """Files of one tool."""

    tool: str
    patterns: Sequence[str]
    obstacle: Callable[[str, str], Obstacle]
    """Of a file's path and its text."""


def naming(words: Sequence[str], *, firewalls: bool = False) -> list[dict[str, Any]]:
    """
    The files that name any of the words, in which a word stands by itself, and those that may not be read.

    Of each: `path`, `tool`, `words`; `obstacle` and `fix`: why a boot does not use it, and what changes that (empty: it
    uses it); `unread`.  `firewalls`: the files of firewalls, too.
    """
    found: list[dict[str, Any]] = []
    for source, path in files((*SOURCES, *FIREWALLS) if firewalls else SOURCES):
        entry = {"path": path, "tool": source.tool, "words": [], "obstacle": "", "fix": "", "unread": False}
        try:
            with open(path, errors="replace") as file:
                text = _uncommented(file.read(LARGEST))
        except PermissionError:
            found.append({**entry, "unread": True})
            continue
        except OSError:
            continue
        named = [word for word in words if re.search(rf"(?<![\w.]){re.escape(word)}(?![\w.])", text)]
        if named:
            obstacle, fix = source.obstacle(path, text) or ("", "")
            found.append({**entry, "words": named, "obstacle": obstacle, "fix": fix})
    return found


def files(sources: Sequence[Source]) -> Iterator[tuple[Source, str]]:
    for source in sources:
        for pattern in source.patterns:
            for path in sorted(glob.glob(pattern)):
                yield source, path
    for unit in sorted(glob.glob(f"{UNITS}/*.service")):
        yield UNIT, unit
        for script in SCRIPT.findall(_read(unit)):
            if script.startswith(OWN_SCRIPTS):
                yield _of_unit(os.path.basename(unit)), script


def _read(path: str) -> str:
    try:
        with open(path, errors="replace") as file:
            return _uncommented(file.read(LARGEST))
    except OSError:
        return ""


def _uncommented(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith(("#", ";")))


def _enabled(unit: str) -> bool:
    """Whether a boot starts a unit: another unit wants it and it is not masked."""
    if os.path.realpath(f"{UNITS}/{unit}") == os.devnull:
        return False
    return any(glob.glob(f"{folder}/*.{how}/{unit}") for folder in WANTS for how in ("wants", "requires"))


def _program(unit: str, program: str, package: str) -> Obstacle:
    """Why a boot does not start a tool."""
    if shutil.which(program, path=PROGRAMS) is None:
        return f"{program} is not installed", f"sudo apt-get install {package}    # or what the distribution has"
    return None if _enabled(unit) else (f"{unit} is not enabled", f"sudo systemctl enable {unit}")


def _executed(path: str, text: str) -> Obstacle:
    return None if os.access(path, os.X_OK) else ("it may not be executed", f"sudo chmod +x {path}")


def _unit(path: str, text: str) -> Obstacle:
    unit = os.path.basename(path)
    return None if _enabled(unit) else (f"{unit} is not enabled", f"sudo systemctl enable {unit}")


def _of_unit(unit: str) -> Source:
    """A script that a unit runs."""
    return Source("systemd", (), lambda path, text: _unit(unit, text) or _executed(path, text))


def _networkd(path: str, text: str) -> Obstacle:
    return _program("systemd-networkd.service", "systemd-networkd", "systemd")


def _netplan(path: str, text: str) -> Obstacle:
    there = shutil.which("netplan", path=PROGRAMS)
    return None if there else ("netplan is not installed", "sudo apt-get install netplan.io")


def _ifupdown(path: str, text: str) -> Obstacle:
    if obstacle := _program("networking.service", "ifup", "ifupdown"):
        return obstacle
    if path != INTERFACES and not SOURCED.search(_read(INTERFACES)):
        line = "source /etc/network/interfaces.d/*"
        return f"{INTERFACES} has no `{line}`", f"echo '{line}' | sudo tee -a {INTERFACES}"
    brought = {name for line in AUTO.findall(text) for name in line.split()}
    waiting = [name for name in STANZA.findall(text) if name not in brought]
    return (f"it has no `auto {waiting[0]}`", f"echo 'auto {waiting[0]}' | sudo tee -a {path}") if waiting else None


def _ifupdown_script(path: str, text: str) -> Obstacle:
    return _program("networking.service", "ifup", "ifupdown") or _executed(path, text)


def _network_manager(path: str, text: str) -> Obstacle:
    if obstacle := _program("NetworkManager.service", "NetworkManager", "network-manager"):
        return obstacle
    if off := re.search(r"^autoconnect\s*=\s*(false|no|0)\s*$", text, re.MULTILINE):
        return f"it has {off.group().strip()}", f"sudo sed -i '/^autoconnect=/d' {path} && sudo nmcli connection reload"
    state = os.stat(path)
    if state.st_mode & OTHERS or state.st_uid:
        return "NetworkManager refuses a file that others may read", f"sudo chown root {path} && sudo chmod 600 {path}"
    return None


def _network_manager_script(path: str, text: str) -> Obstacle:
    return _program("NetworkManager.service", "NetworkManager", "network-manager") or _executed(path, text)


def _network_scripts(path: str, text: str) -> Obstacle:
    if re.search(r"^ONBOOT\s*=\s*[\"']?no", text, re.MULTILINE | re.IGNORECASE):
        return "it has ONBOOT=no", f"sudo sed -i 's/^ONBOOT=.*/ONBOOT=yes/' {path}"
    if _enabled("NetworkManager.service") or _enabled("network.service") or glob.glob("/etc/rc3.d/S*network"):
        return None
    return "neither NetworkManager nor network.service is enabled", "sudo systemctl enable NetworkManager"


def _cron(path: str, text: str) -> Obstacle:
    return None if "@reboot" in text else ("cron does not run it at boot", "sudo crontab -e    # a line with @reboot")


def _nft(path: str, text: str) -> Obstacle:
    included = [pattern for main in NFTABLES for pattern in INCLUDED.findall(_read(main))]
    if path not in NFTABLES and not any(fnmatch.fnmatch(path, pattern) for pattern in included):
        return f"{NFTABLES[0]} does not include it", f"grep -n include {NFTABLES[0]}    # then include {path}"
    return _program("nftables.service", "nft", "nftables")


def _iptables(path: str, text: str) -> Obstacle:
    unit = "netfilter-persistent.service" if path.startswith("/etc/iptables/") else "iptables.service"
    return None if _enabled(unit) else (f"{unit} is not enabled", f"sudo systemctl enable {unit}")


NETWORKD, CRON = (
    "/etc/systemd/network",
    ("/etc/crontab", "/etc/cron.d/*", "/var/spool/cron/*", "/var/spool/cron/crontabs/*"),
)
SOURCES = (
    Source("systemd-networkd", (f"{NETWORKD}/*.netdev", f"{NETWORKD}/*.network", f"{NETWORKD}/*.d/*.conf"), _networkd),
    Source("ifupdown", (INTERFACES, "/etc/network/interfaces.d/*"), _ifupdown),
    Source("ifupdown", ("/etc/network/if-*.d/*",), _ifupdown_script),
    Source("netplan", ("/etc/netplan/*.yaml",), _netplan),
    Source("NetworkManager", ("/etc/NetworkManager/system-connections/*",), _network_manager),
    Source("NetworkManager", ("/etc/NetworkManager/dispatcher.d/*",), _network_manager_script),
    Source("network-scripts", ("/etc/sysconfig/network-scripts/*",), _network_scripts),
    Source("rc.local", ("/etc/rc.local", "/etc/rc.d/rc.local"), _executed),
    Source("cloud-init", ("/var/lib/cloud/scripts/per-boot/*",), _executed),
    Source("cron", CRON, _cron),
)
FIREWALLS = (
    Source("nft", (*NFTABLES, "/etc/nftables/*.nft", "/etc/nftables.d/*", "/etc/*.nft"), _nft),
    Source("iptables", ("/etc/iptables/rules.v4", "/etc/sysconfig/iptables"), _iptables),
)
UNIT = Source("systemd", (), _unit)

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
RUN = re.compile(r"(?<![\w./-])(/[\w./@-]+)")
OWN_SCRIPTS = ("/usr/local/", "/opt/", "/root/", "/etc/", "/home/", "/srv/")
"""Where the scripts that others run are read: what a distribution installs elsewhere makes no overlay."""
EXEC = re.compile(r"^Exec(?:StartPre|Start|StartPost)=.*$", re.MULTILINE)
NOT_OF_A_BOOT = ("rescue", "emergency", "halt", "poweroff", "reboot", "shutdown", "suspend", "sleep", "hibernate")
INDEPENDENT = re.compile(r"^Independent\s*=\s*(?:yes|true|1|on)\s*$", re.MULTILINE | re.IGNORECASE)
AT_BOOT = re.compile(r"^On(?:Boot|Startup|Active)Sec\s*=", re.MULTILINE)
AUTO = re.compile(r"^\s*auto\s+(.*)$", re.MULTILINE)
HOTPLUG = re.compile(r"^\s*allow-hotplug\s+(.*)$", re.MULTILINE)
STANZA = re.compile(r"^\s*iface\s+(\S+)", re.MULTILINE)
MATCH = re.compile(r"^\[Match\]\s*$(.*?)(?=^\[|\Z)", re.MULTILINE | re.DOTALL)
SETTING = re.compile(r"^\s*(\w+)\s*=\s*(.*?)\s*$", re.MULTILINE)
UNMANAGED = re.compile(r"^unmanaged-devices\s*\+?=\s*(.*)$", re.MULTILINE)
BY_NAME = "interface-name:"
BY_NETWORK_MANAGER = re.compile(r"^\s*renderer:\s*[\"']?NetworkManager", re.MULTILINE)
"""What netplan hands over to NetworkManager."""
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
    runs: bool = False
    """Whether its files are commands, which run scripts."""
    used: Callable[[str], str] = str
    """The lines of a text that a boot uses, if it uses the file."""
    unused: Callable[[str, str], Obstacle] | None = None
    """Why it does not use the others; without one, these are no part of what a boot makes."""


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
        used = source.used(text)
        for lines, why in ((used, source.obstacle), (_without(text, used), source.unused)):
            named = [word for word in words if re.search(rf"(?<![\w.]){re.escape(word)}(?![\w.])", lines)]
            if named and why:
                obstacle, fix = why(path, lines) or ("", "")
                found.append({**entry, "words": named, "obstacle": obstacle, "fix": fix})
    return found


def _without(text: str, used: str) -> str:
    lines = set(used.splitlines())
    return "\n".join(line for line in text.splitlines() if line not in lines)


def files(sources: Sequence[Source]) -> Iterator[tuple[Source, str]]:
    """The files of all sources and units, and the scripts that they run, with those that these run."""
    found = [(source, path) for source in sources for each in source.patterns for path in sorted(glob.glob(each))]
    found += [(UNIT, path) for path in sorted(glob.glob(f"{UNITS}/*.service"))]
    seen = {path for _, path in found}
    for source, path in found:
        yield source, path
        if source.runs:
            yield from _scripts(source, path, seen)


def _scripts(source: Source, parent: str, seen: set[str]) -> Iterator[tuple[Source, str]]:
    for path in RUN.findall(source.used(_read(parent))):
        if path not in seen and os.path.isfile(path) and path.startswith(OWN_SCRIPTS):
            seen.add(path)
            yield (script := _run_by(source, parent)), path
            yield from _scripts(script, path, seen)


def _read(path: str) -> str:
    try:
        with open(path, errors="replace") as file:
            return _uncommented(file.read(LARGEST))
    except OSError:
        return ""


def _uncommented(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith(("#", ";")))


def _masked(unit: str) -> bool:
    return os.path.realpath(f"{UNITS}/{unit}") == os.devnull


def _enabled(unit: str) -> bool:
    """Whether a boot starts a unit that is not masked: a unit of the boot wants it, or its timer runs at boot."""
    if _masked(unit):
        return False
    wanting = {os.path.basename(os.path.dirname(path)) for path in _links(unit)}
    if any(by.partition(".target.")[0] not in NOT_OF_A_BOOT for by in wanting):
        return True
    timer = unit.replace(".service", ".timer")
    return timer != unit and bool(AT_BOOT.search(_read(f"{UNITS}/{timer}"))) and _enabled(timer)


def _links(unit: str) -> Iterator[str]:
    for folder in WANTS:
        for how in ("wants", "requires"):
            yield from glob.glob(f"{folder}/*.{how}/{unit}")


def _started(unit: str) -> Obstacle:
    """Why a boot does not start a unit."""
    if _masked(unit):
        return f"{unit} is masked", f"sudo systemctl unmask {unit} && sudo systemctl enable {unit}"
    return None if _enabled(unit) else (f"{unit} is not enabled", f"sudo systemctl enable {unit}")


def _program(unit: str, program: str, package: str) -> Obstacle:
    """Why a boot does not start a tool."""
    if shutil.which(program, path=PROGRAMS) is None:
        return f"{program} is not installed", f"sudo apt-get install {package}    # or what the distribution has"
    return _started(unit)


def _executed(path: str, text: str) -> Obstacle:
    return None if os.access(path, os.X_OK) else ("it may not be executed", f"sudo chmod +x {path}")


def _unit(path: str, text: str) -> Obstacle:
    return _started(os.path.basename(path))


def _commands(text: str) -> str:
    """The lines of a unit that name what it runs when it starts."""
    return "\n".join(EXEC.findall(text))


def _run_by(source: Source, parent: str) -> Source:
    """A script that a file of a source runs; by a shell, it need not be executable."""

    def obstacle(path: str, text: str) -> Obstacle:
        lines = source.used(_read(parent))
        by_shell = re.search(rf"\b(?:ba|da)?sh\s+(?:-\w+\s+)*{re.escape(path)}(?![\w.])|\.\s+{re.escape(path)}", lines)
        return source.obstacle(parent, lines) or (None if by_shell else _executed(path, text))

    return Source(source.tool, (), obstacle)


def _networkd(path: str, text: str) -> Obstacle:
    if obstacle := _program("systemd-networkd.service", "systemd-networkd", "systemd"):
        return obstacle
    if path.endswith(".network") and (before := _shadowing(path, text)):
        first = f"{NETWORKD}/00-{os.path.basename(path)}"
        return f"{before} matches the same device and comes first", f"sudo mv {path} {first}"
    section = next((name for name in ("Tunnel", "VXLAN") if f"[{name}]" in text), "")
    name = re.search(r"^Name\s*=\s*(\S+)", text, re.MULTILINE)
    whole = "\n".join([text, *map(_read, glob.glob(f"{path}.d/*.conf"))])
    if not path.endswith(".netdev") or not section or not name or INDEPENDENT.search(whole):
        return None
    wanted = re.compile(rf"^{section}\s*=\s*{re.escape(name[1])}\s*$", re.MULTILINE)
    if any(wanted.search(_read(file)) for file in _network_files()):
        return None
    why = f"it has no Independent=yes, and no .network file has {section}={name[1]}"
    return why, f"sudo sed -i '/^\\[{section}\\]/a Independent=yes' {path}"


def _network_files() -> list[str]:
    return [file for folder in NETWORKD_FOLDERS for file in glob.glob(f"{folder}/*.network")]


def _shadowing(path: str, text: str) -> str:
    """The file by which systemd-networkd configures a device instead: the first by name that matches it."""
    names = _matched(text).get("Name", "").split()
    own, files = os.path.basename(path), sorted(_network_files(), key=os.path.basename)
    before = (file for file in files if os.path.basename(file) < own)
    return next((file for file in before if any(_takes(_matched(_read(file)), name) for name in names)), "")


def _matched(text: str) -> dict[str, str]:
    return dict(pair for section in MATCH.findall(text) for pair in SETTING.findall(section))


def _takes(match: dict[str, str], name: str) -> bool:
    """Whether a [Match] certainly takes a device of an overlay, all of which are of type `ether`, by their names."""
    of_type = "ether" in match.get("Type", "ether").split()
    by_name = any(fnmatch.fnmatch(name, pattern) for pattern in match.get("Name", "*").split())
    return bool(match) and set(match) <= {"Name", "Type"} and of_type and by_name


def _netplan(path: str, text: str) -> Obstacle:
    if shutil.which("netplan", path=PROGRAMS) is None:
        return "netplan is not installed", "sudo apt-get install netplan.io"
    # netplan starts either by itself, unless it is masked
    unit = "NetworkManager.service" if BY_NETWORK_MANAGER.search(text) else "systemd-networkd.service"
    return (f"{unit} is masked", f"sudo systemctl unmask {unit}") if _masked(unit) else None


def _ifupdown(path: str, text: str) -> Obstacle:
    if obstacle := _program("networking.service", "ifup", "ifupdown"):
        return obstacle
    main = _read(INTERFACES)
    if path != INTERFACES and not SOURCED.search(main):
        line = "source /etc/network/interfaces.d/*"
        return f"{INTERFACES} has no `{line}`", f"echo '{line}' | sudo tee -a {INTERFACES}"
    if path != INTERFACES and re.search(r"^\s*source-directory", main, re.MULTILINE) and "." in os.path.basename(path):
        return (
            f"source-directory in {INTERFACES} leaves out names with a dot",
            f"sudo mv {path} {os.path.dirname(path)}/{os.path.basename(path).replace('.', '-')}",
        )
    return None


def _waiting(path: str, text: str) -> Obstacle:
    name = next(iter(STANZA.findall(text)), "")
    return (f"it has no `auto {name}`", f"echo 'auto {name}' | sudo tee -a {path}") if name else None


def _brought(text: str) -> set[str]:
    """The interfaces that a boot brings up: of those with allow-hotplug, the devices that it finds."""
    named = {name for line in AUTO.findall(text) for name in line.split()}
    plugged = {name for line in HOTPLUG.findall(text) for name in line.split()}
    return named | {name for name in plugged if os.path.exists(f"/sys/class/net/{name}/device")}


def _brought_stanzas(text: str) -> str:
    """The stanzas that do not wait for a command."""
    brought = _brought(text)
    parts = re.split(r"^(?=\s*(?:iface|auto|allow-\S+|mapping|source\S*)\s)", text, flags=re.MULTILINE)
    return "".join(part for part in parts if (own := STANZA.match(part)) and own[1] in brought)


def _ifupdown_script(path: str, text: str) -> Obstacle:
    return _program("networking.service", "ifup", "ifupdown") or _executed(path, text)


def _network_manager(path: str, text: str) -> Obstacle:
    if obstacle := _program("NetworkManager.service", "NetworkManager", "network-manager"):
        return obstacle
    if off := re.search(r"^autoconnect\s*=\s*(false|no|0)\s*$", text, re.MULTILINE):
        return f"it has {off.group().strip()}", f"sudo sed -i '/^autoconnect=/d' {path} && sudo nmcli connection reload"
    own = re.search(r"^interface-name\s*=\s*(\S+)", text, re.MULTILINE)
    for file in (MANAGER, *sorted(glob.glob(f"{os.path.dirname(MANAGER)}/conf.d/*.conf"))) if own else ():
        for entry in re.split(r"[;,]\s*", ";".join(UNMANAGED.findall(_read(file)))):
            if entry.startswith(BY_NAME) and own and fnmatch.fnmatch(own[1], entry[len(BY_NAME) :]):
                fix = f"sudo sed -i 's/{re.escape(entry)}[;,]*//' {file} && sudo systemctl reload NetworkManager"
                return f"{file} has {entry} in unmanaged-devices", fix
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
    users = re.findall(r"@reboot\s+(\S+)", text) if path.startswith("/etc/") else [os.path.basename(path)]
    if "root" not in users and "sudo " not in text:
        why = f"cron runs it as {users[0]}, who may not change interfaces"
        return why, "sudo crontab -e    # move the line with @reboot there"
    return None if _enabled("crond.service") else _started("cron.service")


def _not_at_reboot(path: str, text: str) -> Obstacle:
    return "cron does not run it at boot", "sudo crontab -e    # a line with @reboot"


def _at_reboot(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if line.lstrip().startswith("@reboot"))


def _rc_local(path: str, text: str) -> Obstacle:
    if _masked("rc-local.service"):
        return "rc-local.service is masked", "sudo systemctl unmask rc-local.service"
    return _executed(path, text)


def _nft(path: str, text: str) -> Obstacle:
    included = [pattern for main in NFTABLES for pattern in INCLUDED.findall(_read(main))]
    if path not in NFTABLES and not any(fnmatch.fnmatch(path, pattern) for pattern in included):
        return f"{NFTABLES[0]} does not include it", f"grep -n include {NFTABLES[0]}    # then include {path}"
    return _program("nftables.service", "nft", "nftables")


def _iptables(path: str, text: str) -> Obstacle:
    return _started("netfilter-persistent.service" if path.startswith("/etc/iptables/") else "iptables.service")


def _firewalld(path: str, text: str) -> Obstacle:
    return _program("firewalld.service", "firewalld", "firewalld")


MANAGER = "/etc/NetworkManager/NetworkManager.conf"
NETWORKD_FOLDERS = ("/etc/systemd/network", "/run/systemd/network", "/usr/lib/systemd/network")
NETWORKD, CRON = (
    "/etc/systemd/network",
    ("/etc/crontab", "/etc/cron.d/*", "/var/spool/cron/*", "/var/spool/cron/crontabs/*"),
)
SOURCES = (
    Source("systemd-networkd", (f"{NETWORKD}/*.netdev", f"{NETWORKD}/*.network", f"{NETWORKD}/*.d/*.conf"), _networkd),
    Source("ifupdown", (INTERFACES, "/etc/network/interfaces.d/*"), _ifupdown, True, _brought_stanzas, _waiting),
    Source("ifupdown", ("/etc/network/if-*.d/*",), _ifupdown_script, True),
    Source("netplan", ("/etc/netplan/*.yaml",), _netplan),
    Source("NetworkManager", ("/etc/NetworkManager/system-connections/*",), _network_manager),
    Source("NetworkManager", ("/etc/NetworkManager/dispatcher.d/*",), _network_manager_script),
    Source("network-scripts", ("/etc/sysconfig/network-scripts/*",), _network_scripts),
    Source("rc.local", ("/etc/rc.local", "/etc/rc.d/rc.local"), _rc_local, True),
    Source("cloud-init", ("/var/lib/cloud/scripts/per-boot/*",), _executed, True),
    Source("cron", CRON, _cron, True, _at_reboot, _not_at_reboot),
)
FIREWALLS = (
    Source("nft", (*NFTABLES, "/etc/nftables/*.nft", "/etc/nftables.d/*", "/etc/*.nft"), _nft),
    Source("iptables", ("/etc/iptables/rules.v4", "/etc/sysconfig/iptables"), _iptables),
)
UNIT = Source("systemd", (), _unit, True, _commands)

"""
Which files that a boot may read name something (a device, an address, a route), and why a boot would not use one.

Comments in a file do not count.  A file may be unused: its tool is not enabled or not installed, it may not be
executable, it waits for a command, or it is for another device than those that this host has at boot, or will have
made by then.  A device counts as made by a file that makes it, not by one that configures it only.
Sources: crontab(5), nft(8), netfilter-persistent(8), systemd-rc-local-generator(8), ip-link(8), and cloud-init's
per-boot scripts; of the tools, those of their modules.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from lab.agent.boot import base, ifupdown, netplan, network_manager, networkd, scripts, units
from lab.agent.boot import devices as boot_devices
from lab.agent.boot.base import ADDRESS, LARGEST, UNITS, Obstacle, Part, Source, read, uncommented

RUN = re.compile(r"(?<![\w./-])(/[\w./@-]+)")
SHOWN = 60  # characters of a command
OWN_SCRIPTS = ("/usr/local/", "/opt/", "/root/", "/etc/", "/home/", "/srv/")
"""Where the scripts that others run are read: what a distribution installs elsewhere makes no overlay."""
USED = re.compile(r"\bdev\s+([A-Za-z][\w.-]*)(?![\w.-]*[$`{])")
"""The device that a command needs."""
UNKNOWN = "cannot be determined"
CLOUD_INIT_OFF = "/etc/cloud/cloud-init.disabled"
NFTABLES = ("/etc/nftables.conf", "/etc/sysconfig/nftables.conf")
INCLUDED = re.compile(r"^\s*include\s+\"([^\"]+)\"", re.MULTILINE)
GROUP = re.compile(r"(?:2(?:2[4-9]|3\d)(?:\.\d+){3}|ff[\da-f:]+)(?:/\d+)?", re.IGNORECASE)


class NamingPart(NamedTuple):
    """A part of a file, with the words that it names, and why a boot does not use it."""

    entry: dict[str, Any]
    part: Part
    obstacle: Obstacle


def naming(words: Sequence[str], *, firewalls: bool = False) -> list[dict[str, Any]]:
    """
    The files that name any of the words, in which a word stands by itself, and those that may not be read.

    Of each: `path`, `tool`, `words`; `obstacle` and `fix`: why a boot does not use it, and what changes that (empty: it
    uses it, or takes files for the overlay); `unread`.  `firewalls`: the files of firewalls, too.
    """
    base.forget()
    found: list[NamingPart] = []
    for source, path in files((*SOURCES, *FIREWALLS) if firewalls else SOURCES):
        entry = {"path": path, "tool": source.tool, "words": [], "obstacle": "", "fix": "", "unread": False}
        try:
            with open(path, errors="replace") as file:
                text = uncommented(file.read(LARGEST))
        except PermissionError:
            found.append(NamingPart({**entry, "unread": True}, Part(""), None))
            continue
        except OSError:
            continue
        for part in source.parts(path, text, words):
            obstacle = part.obstacle or source.obstacle(path, part.text)
            found.append(NamingPart({**entry, "words": _named(words, part.text)}, part, obstacle))
    return [entry for one in found for entry in _judged(one, found, words, firewalls)]


def _named(words: Sequence[str], text: str) -> list[str]:
    return [word for word in words if _occurrences(word, text)]


def _occurrences(word: str, text: str) -> list[re.Match[str]]:
    """Where a word stands by itself; a network (224.0.0.0/4) may stand without its prefix, but not with another one."""
    address, slash, prefix = word.partition("/")
    ending = rf"(?:/{prefix}(?!\d)|(?![\w./]))" if slash else r"(?![\w.])"
    return list(re.finditer(rf"(?<![\w.]){re.escape(address)}{ending}", text))


def _judged(
    one: NamingPart, found: Sequence[NamingPart], words: Sequence[str], firewalls: bool
) -> Iterator[dict[str, Any]]:
    """What a boot makes of the words by a part, and what it does not."""
    entry, part, obstacle = one
    obstacle = obstacle or _lacking(part.needs, [other for other in found if other is not one], "")
    if entry["unread"]:
        yield entry
        return
    if part.devices is None and firewalls:
        run = [one for one in scripts.commands(part.text) if scripts.program(one) not in scripts.PRINTING]
        entry = {**entry, "words": _named(words, "\n".join(run))}
    elif part.devices is None and not obstacle:
        yield from _of_commands(entry, part, found, words)
        return
    if part.devices is not None:
        mine = [device for device in part.devices if device in words]
        if not obstacle and not part.makes:
            for device in mine:
                if missing := _lacking([device], found, ""):
                    lost = [device] if len(mine) > 1 else entry["words"]
                    entry = {**entry, "words": [word for word in entry["words"] if word not in lost]}
                    yield {**entry, "words": lost, "obstacle": missing[0], "fix": missing[1]}
        if not mine:
            # of another device's settings, only the route of the groups could be meant for the overlay
            entry = {**entry, "words": [word for word in entry["words"] if GROUP.fullmatch(word)]}
            device = next(iter(part.devices), "nothing")
            obstacle = obstacle or (f"it configures {device}, which is not a device of the overlay", "")
    if entry["words"]:
        why, fix = obstacle or ("", "")
        yield {**entry, "obstacle": why, "fix": fix}


def _of_commands(
    entry: dict[str, Any], part: Part, found: Sequence[NamingPart], words: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """The words of commands whose devices exist at boot, those of the others, and those that a script hides."""
    devices = [word for word in words if not ADDRESS.fullmatch(word)]
    lost: dict[tuple[str, str], list[str]] = {}
    usable: set[str] = set()
    commands = scripts.commands(part.text)
    text = "\n".join(commands)
    for command in filter(None, commands):
        if scripts.program(command) in scripts.SILENT:
            continue
        named = [] if scripts.REMOVES.search(command) else _named(words, command)
        mentioned: list[str] = []
        doubtful: list[str] = []
        for name in [one for one in named if one in devices and not _makes(command, one)]:
            before = [command[: one.start()] for one in _occurrences(name, command)]
            (mentioned if all(scripts.mentions(command, one) for one in before) else doubtful).append(name)
        for group in [one for one in named if GROUP.fullmatch(one)]:
            if unusable := _route(command, devices):
                lost.setdefault(unusable, []).append(group)
                named.remove(group)
            elif not scripts.ROUTES.search(command) or scripts.BY_VARIABLE.search(command):
                doubtful.append(group)
        named = [one for one in named if one not in doubtful]
        hidden = scripts.hidden(command)
        doubtful += [word for word in words if _kind(word) in hidden and word not in {*named} - {*mentioned}]
        if doubtful:
            shown = " ".join(command.split())
            why = f"what `{shown[:SHOWN]}` makes {UNKNOWN}", f"grep -n -F {shlex.quote(shown[:20])} {entry['path']}"
            lost.setdefault(why, []).extend(doubtful)
        if missing := _lacking([*USED.findall(command), *mentioned], found, text):
            lost.setdefault(missing, []).extend(named)
        else:
            usable |= set(named)
    if usable:
        yield {**entry, "words": [word for word in words if word in usable]}
    for (reason, fix), lost_words in lost.items():
        if left := [word for word in words if word in lost_words and word not in usable]:
            yield {**entry, "words": left, "obstacle": reason, "fix": fix}


def _kind(word: str) -> str:
    return "route" if GROUP.fullmatch(word) else "address" if ADDRESS.fullmatch(word) else "device"


def _route(command: str, devices: Sequence[str]) -> Obstacle:
    """Why a command that names the groups makes no route of the overlay; None: it may."""
    other = [one for one in USED.findall(command) if one not in devices]
    if scripts.ROUTES.search(command) and not scripts.ELSEWHERE.search(command):
        return (f"it configures {other[0]}, which is not a device of the overlay", "") if other else None
    return ("it makes no route", "") if scripts.program(command) in scripts.OF_LINKS else None


def _lacking(devices: Sequence[str], found: Sequence[NamingPart], text: str) -> Obstacle:
    """The first of the devices that there will not be at boot."""
    for name in devices:
        given = {device.name for device in boot_devices.found()}
        if name in given or _makes(text, name) or any(_made(one, name) for one in found):
            continue
        renamed = next((device for device in boot_devices.found() if device.was == name), None)
        if renamed:
            why = f"it uses {name}, which {renamed.renamed_by} renames to {renamed.name} at boot"
            return why, f"grep -n Name {renamed.renamed_by}    # then correct it"
        return f"it uses {name}, which this host does not have at boot, and no file makes it", ""
    return None


def _made(one: NamingPart, name: str) -> bool:
    """Whether a boot makes a device by a part of a file."""
    if one.obstacle:
        return False
    if one.part.devices is not None:
        return one.part.makes and name in one.part.devices
    return _makes("\n".join(scripts.commands(one.part.text)), name)


def _makes(text: str, name: str) -> bool:
    """Whether commands make a device."""
    return any(
        scripts.makes(command, command[: one.start()])
        for command in text.split("\n")
        for one in _occurrences(name, command)
    )


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
    for path in RUN.findall(_commands(source, parent)):
        if path not in seen and os.path.isfile(path) and path.startswith(OWN_SCRIPTS):
            seen.add(path)
            yield (script := _run_by(source, parent)), path
            yield from _scripts(script, path, seen)


def _commands(source: Source, path: str) -> str:
    """The lines of a file that a boot uses, or could use."""
    return "\n".join(part.text for part in source.parts(path, read(path), ()))


def _run_by(source: Source, parent: str) -> Source:
    """A script that a file of a source runs; by a shell, it need not be executable."""

    def obstacle(path: str, text: str) -> Obstacle:
        lines = _commands(source, parent)
        parts = [part for part in source.parts(parent, read(parent), ()) if path in part.text]
        by_shell = re.search(
            rf"\b(?:ba|da)?sh\s+(?:-\w+\s+)*{re.escape(path)}(?![\w.])|(?:\.|source|-b|-batch)\s+{re.escape(path)}",
            lines,
        )
        own = parts[0].obstacle if parts and all(part.obstacle for part in parts) else None
        by_systemd = re.search(rf"^Exec\w+=[-@+!:]*{re.escape(path)}(?!\S)", lines, re.MULTILINE)
        may_run = base.runnable if by_systemd else base.executed
        return own or source.obstacle(parent, lines) or (None if by_shell else may_run(path, text))

    def parts(path: str, text: str, words: Sequence[str]) -> Iterator[Part]:
        running = [part for part in source.parts(parent, read(parent), ()) if path in part.text and not part.obstacle]
        needs = [name for part in running for name in part.needs]
        yield Part(text, needs=needs)

    return Source(source.tool, (), obstacle, runs=False, parts=parts)


def _cron(path: str, text: str) -> Obstacle:
    of_debian = not base.enabled("crond.service")
    if of_debian and path.startswith("/etc/cron.d/") and (found := base.left_out(path, "cron")):
        return found
    if path.startswith("/etc/") and os.stat(path).st_mode & 0o022:
        return "cron refuses a file that others may write", f"sudo chmod go-w {path}"
    users = re.findall(r"@reboot\s+(\S+)", text) if path.startswith("/etc/") else [os.path.basename(path)]
    if "root" not in users and "sudo " not in text:
        why = f"cron runs it as {users[0]}, who may not change interfaces"
        return why, "sudo crontab -e    # move the line with @reboot there"
    return base.started("cron.service") if of_debian else None


def _jobs(path: str, text: str, words: Sequence[str]) -> Iterator[Part]:
    at_boot = at_reboot(text)
    others = "\n".join(line for line in text.splitlines() if line not in at_boot.splitlines())
    if at_boot:
        yield Part(at_boot)
    yield Part(others, obstacle=("cron does not run it at boot", "sudo crontab -e    # a line with @reboot"))


def at_reboot(text: str) -> str:
    """The lines of a crontab that cron runs at boot."""
    return "\n".join(line for line in text.splitlines() if line.lstrip().startswith("@reboot"))


def _rc_local(path: str, text: str) -> Obstacle:
    if base.masked("rc-local.service"):
        return "rc-local.service is masked", "sudo systemctl unmask rc-local.service"
    return base.runnable(path, text)


def _cloud_init(path: str, text: str) -> Obstacle:
    if os.path.exists(CLOUD_INIT_OFF):
        return f"cloud-init is turned off by {CLOUD_INIT_OFF}", f"sudo rm {CLOUD_INIT_OFF}"
    return base.started("cloud-final.service") or base.runnable(path, text)


def _nft(path: str, text: str) -> Obstacle:
    included = [pattern for main in NFTABLES for pattern in INCLUDED.findall(read(main))]
    if path not in NFTABLES and not any(fnmatch.fnmatch(path, pattern) for pattern in included):
        return f"{NFTABLES[0]} does not include it", f"grep -n include {NFTABLES[0]}    # then include {path}"
    return base.program("nftables.service", "nft", "nftables")


def _iptables(path: str, text: str) -> Obstacle:
    debian = path.startswith("/etc/iptables/")
    return base.started("netfilter-persistent.service" if debian else "iptables.service")


def firewalld(path: str, text: str) -> Obstacle:
    """Why firewalld does not load a file of its own."""
    return base.program("firewalld.service", "firewalld", "firewalld")


CRON = ("/etc/crontab", "/etc/cron.d/*", "/var/spool/cron/*", "/var/spool/cron/crontabs/*")
KINDS = ("*.netdev", "*.network", "*.netdev.d/*.conf", "*.network.d/*.conf")
NETWORKD = [f"{networkd.FOLDER}/{each}" for each in KINDS]
CONNECTIONS, SCRIPTS = "/etc/NetworkManager/system-connections/*", "/etc/NetworkManager/dispatcher.d/*"
INTERFACES = (ifupdown.INTERFACES, f"{ifupdown.INTERFACES}.d/*")
IFCFG = tuple(f"/etc/sysconfig/network-scripts/{kind}-*" for kind in ("ifcfg", "route", "route6", "rule", "rule6"))
SOURCES = (
    Source("systemd-networkd", NETWORKD, networkd.obstacle, parts=networkd.parts),
    Source("ifupdown", INTERFACES, ifupdown.obstacle, runs=True, parts=ifupdown.parts),
    Source("ifupdown", ("/etc/network/if-*.d/*",), ifupdown.script_obstacle, runs=True),
    Source("netplan", ("/etc/netplan/*.yaml",), netplan.obstacle, parts=netplan.parts),
    Source("NetworkManager", (CONNECTIONS,), network_manager.obstacle, parts=network_manager.parts),
    Source("NetworkManager", (SCRIPTS,), network_manager.script_obstacle),
    Source("network-scripts", IFCFG, network_manager.ifcfg_obstacle, parts=network_manager.ifcfg_parts),
    Source("rc.local", ("/etc/rc.local", "/etc/rc.d/rc.local"), _rc_local, runs=True),
    Source("cloud-init", ("/var/lib/cloud/scripts/per-boot/*",), _cloud_init, runs=True),
    Source("cron", CRON, _cron, runs=True, parts=_jobs),
)
FIREWALLS = (
    Source("nft", (*NFTABLES, "/etc/nftables/*.nft", "/etc/nftables.d/*", "/etc/*.nft"), _nft),
    Source("iptables", ("/etc/iptables/rules.v4", "/etc/sysconfig/iptables"), _iptables),
)
UNIT = Source("systemd", (), units.obstacle, runs=True, parts=units.parts)

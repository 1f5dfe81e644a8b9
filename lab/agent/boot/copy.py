"""
The files by which a boot of this machine makes its network, with their text: what a rehearsal boots from elsewhere.

Of the daemons' own folders every file that a boot uses; scripts, and the units that run them, only if they name the
overlay.  Of sysctl.d(5) the lines about the network.  Nothing is changed.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from lab.agent import prerequisites
from lab.agent.boot import base, sources, zones
from lab.agent.boot import files as boot_files

FIREWALLD = base.Source(
    "firewalld",
    (
        *("/usr/lib/firewalld/zones/*.xml", "/usr/lib/firewalld/policies/*.xml"),
        *("/etc/firewalld/firewalld.conf", "/etc/firewalld/direct.xml", "/etc/firewalld/*/*.xml"),
    ),
    sources.firewalld,
    sources.as_lines,
)
"""The permanent configuration, and the distribution's own zones, of which one may be the default."""
WHOLE = ("systemd-networkd", "netplan", "NetworkManager", "nft", "iptables", "firewalld")
"""The tools whose every file is read by a boot; of ifupdown, the stanzas are (`INTERFACES`)."""
STANZAS = ("/etc/network/interfaces", "/etc/network/interfaces.d/")
CRONTABS = ("/etc/crontab", "/etc/cron.d/", "/var/spool/cron/")
EXEC = re.compile(r"^Exec(?:StartPre|Start|StartPost)=[-@+!:]*(.+)$", re.MULTILINE)
ONESHOT = re.compile(r"^Type\s*=\s*oneshot\s*$", re.MULTILINE)
MATCH = re.compile(r"^\s*\[Match\]\s*$.*?(?=^\s*\[|\Z)", re.MULTILINE | re.DOTALL)
OF_THE_NETWORK = re.compile(r"^\s*-?net[./][^#;]*=.*$", re.MULTILINE)


def copied(words: Sequence[str]) -> dict[str, Any]:
    """
    The files of a boot: `files` as `{path, tool, text, commands, waits}`, `unread`, and `zones` (`zones.assigned`).

    `commands` are those of a unit, in order; `waits`: the boot waits for their end.  `undetermined`: files that name
    the overlay, by path why it is unknown whether a boot uses them.
    """
    naming = boot_files.naming(words)
    named = {entry["path"] for entry in naming}
    files, unread = [], []
    for source, path in boot_files.files((*sources.FIREWALLS, *sources.SOURCES, FIREWALLD)):
        scripts = boot_files.RUN.findall(base.read(path)) if source.runs else []
        wanted = source.tool in WHOLE or path.startswith(STANZAS) or named & {path, *scripts}
        if not wanted or ("dispatcher.d/" in path and path not in named):
            continue
        try:
            with open(path, errors="replace") as file:
                text = file.read(base.LARGEST)
        except PermissionError:
            unread.append(path)
            continue
        except OSError:
            continue
        content = base.uncommented(text)
        parts = list(source.parts(path, content, words))
        used = not parts or not all(part.obstacle for part in parts)
        if used and source.obstacle(path, content) is None:
            entry = {"path": path, "tool": source.tool, "text": _there(path, text, parts)}
            unit = "\n".join(part.text for part in parts if not part.obstacle)
            files.append({**entry, **_commands(path, text, unit)})
    found = {file["path"] for file in files}
    open_ = [entry for entry in naming if boot_files.UNKNOWN in entry["obstacle"] and entry["path"] not in found]
    undetermined = {entry["path"]: entry["obstacle"] for entry in open_}
    every = [*files, *_sysctls()]
    return {"files": every, "unread": unread, "zones": zones.assigned(), "undetermined": undetermined}


def _there(path: str, text: str, parts: Sequence[base.Part]) -> str:
    """A file's text where the machine and its NIC are others: a [Match] is by the names of what it takes here."""
    if not path.endswith((".network", ".netdev", ".conf")) or not path.startswith("/etc/systemd/network"):
        return text
    names = " ".join(device for part in parts for device in part.devices or ())
    taken = f"[Match]\nName={names}\n\n" if path.endswith(".network") else ""
    by_name = all(key == "Name" for key, _ in base.settings(base.uncommented(text), "Match"))
    return text if by_name else MATCH.sub(taken, text, count=1)


def _commands(path: str, text: str, unit: str) -> dict[str, Any]:
    """The commands that run a file at boot, if any; a file that is executable is its own, a line of cron another's."""
    if path.endswith(".service"):
        return {"commands": EXEC.findall(unit), "waits": bool(ONESHOT.search(text))}
    if path.startswith(("/etc/rc", "/var/lib/cloud/scripts/")):
        return {"commands": [path], "waits": True}
    if path.startswith(CRONTABS):
        return {"commands": list(_jobs(path, base.uncommented(text))), "waits": False}
    return {"commands": [], "waits": True}


def _jobs(path: str, text: str) -> Iterator[str]:
    """The commands that cron runs as root at boot, with the path that it gives them."""
    spool = path.startswith("/var/spool/")
    own = re.findall(r"^\s*PATH\s*=\s*(\S+)", text, re.MULTILINE)
    for line in sources.at_reboot(text).splitlines():
        user, _, command = line.split(None, 1)[-1].partition(" ")
        if spool:
            user, command = os.path.basename(path), line.split(None, 1)[-1]
        if user == "root":
            yield f"env -i HOME=/root PATH={own[-1] if own else '/usr/bin:/bin'} sh -c {shlex.quote(command)}"


def _sysctls() -> list[dict[str, Any]]:
    """What sysctl.d(5) sets of the network, in the order in which a boot sets it."""
    paths = prerequisites.sysctl_files()
    texts = ((path, "\n".join(OF_THE_NETWORK.findall(prerequisites._text(path)))) for path in paths)
    return [
        {"path": path, "tool": "sysctl.d", "text": text + "\n", "commands": [], "waits": True}
        for path, text in texts
        if os.path.exists(path)
    ]

"""
The files by which a boot of this machine makes its network, with their text: what a rehearsal boots from elsewhere.

Of the daemons' own folders every file that a boot uses; scripts, and the units that run them, only if they name the
overlay.  Of sysctl.d(5) the lines about the network.  Nothing is changed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from lab.agent import boot_files, prerequisites

WHOLE = ("systemd-networkd", "netplan", "NetworkManager")
"""The tools whose every file is read by a boot; of ifupdown, the stanzas are (`INTERFACES`)."""
STANZAS = ("/etc/network/interfaces", "/etc/network/interfaces.d/")
EXEC = re.compile(r"^Exec(?:StartPre|Start|StartPost)=[-@+!:]*(.+)$", re.MULTILINE)
ONESHOT = re.compile(r"^Type\s*=\s*oneshot\s*$", re.MULTILINE)
OF_THE_NETWORK = re.compile(r"^\s*-?net[./][^#;]*=.*$", re.MULTILINE)


def copied(words: Sequence[str]) -> dict[str, Any]:
    """
    The files of a boot: `files` as `{path, tool, text, commands, waits}`, and `unread`.

    `commands` are those of a unit, in order; `waits`: the boot waits for their end.
    """
    named = {entry["path"] for entry in boot_files.naming(words)}
    files, unread = [], []
    for source, path in boot_files.files(boot_files.SOURCES):
        scripts = boot_files.RUN.findall(boot_files._read(path)) if path.endswith(".service") else []
        wanted = source.tool in WHOLE or path.startswith(STANZAS) or named & {path, *scripts}
        if not wanted or "dispatcher.d" in path:
            continue
        try:
            with open(path, errors="replace") as file:
                text = file.read(boot_files.LARGEST)
        except PermissionError:
            unread.append(path)
            continue
        except OSError:
            continue
        if source.obstacle(path, boot_files._uncommented(text)) is None:
            files.append({"path": path, "tool": source.tool, "text": text, **_commands(path, text)})
    return {"files": [*files, *_sysctls()], "unread": unread}


def _commands(path: str, text: str) -> dict[str, Any]:
    """The commands that run a file at boot, if any; a file that is executable is its own."""
    if path.endswith(".service"):
        return {"commands": EXEC.findall(text), "waits": bool(ONESHOT.search(text))}
    if path.startswith(("/etc/rc", "/var/lib/cloud/scripts/")):
        return {"commands": [path], "waits": True}
    return {"commands": [], "waits": True}


def _sysctls() -> list[dict[str, Any]]:
    """What sysctl.d(5) sets of the network, in the order in which a boot sets it."""
    paths = [*prerequisites._configuration(prerequisites.SYSCTL_FOLDERS), "/etc/sysctl.conf"]
    texts = ((path, "\n".join(OF_THE_NETWORK.findall(prerequisites._text(path)))) for path in paths)
    return [
        {"path": path, "tool": "sysctl.d", "text": text + "\n", "commands": [], "waits": True}
        for path, text in texts
        if os.path.exists(path)
    ]

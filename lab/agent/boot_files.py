"""
Which files that are read at boot name something: a device, an address, a route.

Only those that count: units that are enabled, with the scripts that they run; networkd's files where networkd is
enabled; the others of ifupdown, netplan, NetworkManager, network-scripts, cloud-init and rc.local.
Sources: systemd.unit(5), systemd.network(5), interfaces(5), netplan(5), nm-settings-keyfile(5), cloud-init's scripts.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from typing import Any

UNITS = "/etc/systemd/system"
NETWORKD = ("/etc/systemd/network/*.netdev", "/etc/systemd/network/*.network", "/etc/systemd/network/*.d/*.conf")
OTHERS = (
    *("/etc/network/interfaces", "/etc/network/interfaces.d/*", "/etc/network/if-*.d/*"),
    *("/etc/netplan/*.yaml", "/etc/NetworkManager/system-connections/*", "/etc/NetworkManager/dispatcher.d/*"),
    *("/etc/sysconfig/network-scripts/*", "/etc/rc.local", "/etc/rc.d/rc.local", "/var/lib/cloud/scripts/per-boot/*"),
    *("/etc/crontab", "/etc/cron.d/*", "/var/spool/cron/*", "/var/spool/cron/crontabs/*"),
)
LARGEST = 1 << 16  # octets of a file that are read
SCRIPT = re.compile(r"^Exec(?:Start|StartPost|StartPre)=[-@+!:]*(?:/bin/(?:ba)?sh(?: -\w+)* )?(/\S+)", re.MULTILINE)


def naming(words: Sequence[str]) -> dict[str, Any]:
    """
    `files`: by word, the files that name it, in which it stands by itself.

    `unread`: files that may not be read; `idle`: files of networkd that name a word, while networkd is not enabled.
    """
    files: dict[str, list[str]] = {word: [] for word in words}
    unread: list[str] = []
    idle: list[str] = []
    enabled = bool(glob.glob(f"{UNITS}/*.wants/systemd-networkd.service"))
    for path in _counting():
        text = _text(path, unread)
        for word in words:
            if re.search(rf"(?<![\w.]){re.escape(word)}(?![\w.])", text):
                if enabled or not path.startswith("/etc/systemd/network/"):
                    files[word].append(path)
                elif path not in idle:
                    idle.append(path)
    return {"files": files, "unread": unread, "idle": idle}


def _counting() -> Iterator[str]:
    for pattern in (*NETWORKD, *OTHERS):
        yield from sorted(glob.glob(pattern))
    for unit in sorted(glob.glob(f"{UNITS}/*.wants/*.service")):
        yield unit
        for script in SCRIPT.findall(_text(unit, [])):
            if script.startswith(("/usr/local/", "/opt/", "/root/", "/etc/", "/home/", "/srv/")):
                yield script


def _text(path: str, unread: list[str]) -> str:
    """A file's text without its comments."""
    try:
        with open(path, errors="replace") as file:
            text = file.read(LARGEST)
    except PermissionError:
        unread.append(path)
        return ""
    except OSError:
        return ""
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith(("#", ";")))

"""
What firewalld accepts now, and what it will accept after its next start, by its own answers; nothing is changed.

Each entry is `[zone or policy, kind, value]`: `["public", "protocols", "gre"]`.  Source: firewall-cmd(1).
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

from lab.agent.boot import base, sources, zones
from lab.agent.execution import programs

PROGRAM, TIMEOUT = "firewall-cmd", 20.0
BUS = "/run/dbus/system_bus_socket"
"""By which firewalld is asked: without it there is none."""
NOT_RUNNING = 252  # exit status
SYSTEMD = "/run/systemd/system"
"""What there is where systemd started this machine, and will again (sd_booted(3))."""
LISTED = ("--list-all-zones", "--list-all-policies")
DIRECT = ("--direct", "--get-all-rules")
DIRECT_RULES, MAIN = "/etc/firewalld/direct.xml", "/etc/firewalld/firewalld.conf"
SERVICES = ("/etc/firewalld/services", "/usr/lib/firewalld/services")
"""Of one name the first counts."""
FALLBACK, STARTED = "public", "/run/firewalld.pid"
KINDS = (
    *("target", "interfaces", "sources", "services", "ports", "protocols", "source-ports", "rich rules"),
    *("ingress-zones", "egress-zones"),
)


def read() -> dict[str, Any]:
    """
    `runs`; `runtime` and `permanent` entries; `unread`: why they could not be read; `starts`: a boot starts it.

    Also `default`: the default zone at both times, `services`: their ports and protocols, and `assigned` (`zones`).
    """
    found: dict[str, Any] = {"runs": False, "starts": False, "runtime": [], "permanent": [], "unread": ""}
    if shutil.which(PROGRAM, path=programs.SYSTEM_PATH) is None:
        return found
    base.forget()
    found["starts"] = os.path.isdir(SYSTEMD) and sources.firewalld("", "") is None
    if not os.path.exists(BUS):
        return found
    try:
        for kind, options in (("runtime", []), ("permanent", ["--permanent"])):
            for listed in LISTED:
                found[kind] += [list(entry) for entry in _entries(_answer(*options, listed))]
            if not options or os.path.exists(DIRECT_RULES):
                found[kind] += [["direct", "direct", line] for line in _answer(*options, *DIRECT).splitlines()]
        found["default"] = _default()
    except NotRunning:
        return found
    except LookupError as problem:
        return {**found, "runs": True, "unread": str(problem)}
    used = {value for _, kind, value in (*found["runtime"], *found["permanent"]) if kind in ("services", "rich rules")}
    named = {name for value in used for name in re.findall(r'service name="([^"]+)"', value) or [value]}
    found["services"] = {name: sorted(_of_service(name)) for name in named if " " not in name}
    return {**found, "runs": True, "assigned": zones.assigned()}


class NotRunning(Exception):
    """firewalld does not run."""


def _answer(*options: str) -> str:
    """What firewalld answers; LookupError with its message."""
    done = programs.run([PROGRAM, *options], TIMEOUT)
    if done["status"] == NOT_RUNNING:
        raise NotRunning
    if done["status"] != 0:
        raise LookupError((done["errors"] or done["output"]).strip() or f"exit status {done['status']}")
    return str(done["output"])


def _default() -> dict[str, str]:
    """The default zone now, and of its next start; they differ only if the file was changed since the last one."""
    given = [value for key, value in base.SETTING.findall(base.read(MAIN)) if key == "DefaultZone"]
    then = given[-1] if given else FALLBACK
    with contextlib.suppress(OSError):
        if os.stat(MAIN).st_mtime < os.stat(STARTED).st_mtime:
            return {"runtime": then, "permanent": then}
    return {"runtime": _answer("--get-default-zone").strip(), "permanent": then}


def _of_service(name: str, within: tuple[str, ...] = ()) -> Iterator[str]:
    """The ports (`4789/udp`) and protocols of a service, and of those that it includes."""
    path = next(filter(os.path.exists, (f"{folder}/{name}.xml" for folder in SERVICES)), "")
    with contextlib.suppress(OSError, ElementTree.ParseError):
        for one in ElementTree.parse(path).getroot():
            given = one.attrib
            if one.tag == "port":
                yield f"{given.get('port')}/{given.get('protocol')}" if given.get("port") else given.get("protocol", "")
            elif one.tag == "protocol":
                yield given.get("value", "")
            elif one.tag == "include" and given.get("service") not in (None, name, *within):
                yield from _of_service(given["service"], (*within, name))


def _entries(text: str) -> Iterator[tuple[str, str, str]]:
    """The entries of a listing: a name without indentation, then a line for each kind, rich rules below theirs."""
    name, kind = "", ""
    for line in text.splitlines():
        if line.strip() and not line.startswith((" ", "\t")):
            name = line.split(" ")[0]
        elif line.startswith("\t"):
            yield name, kind, line.strip()
        else:
            kind, _, values = line.strip().partition(":")
            for value in values.split() if kind in KINDS else ():
                yield name, kind, value

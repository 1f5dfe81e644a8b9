"""
What firewalld accepts now, and what it will accept after its next start, by its own answers; nothing is changed.

Each entry is `[zone or policy, kind, value]`: `["public", "protocols", "gre"]`.  Source: firewall-cmd(1).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

from lab.agent.execution import programs

PROGRAM, TIMEOUT = "firewall-cmd", 20.0
BUS = "/run/dbus/system_bus_socket"
"""By which firewalld is asked: without it there is none."""
NOT_RUNNING = 252  # exit status of --state
LISTED = ("--list-all-zones", "--list-all-policies")
KINDS = ("target", "interfaces", "sources", "services", "ports", "protocols", "source-ports", "rich rules")


def read() -> dict[str, Any]:
    """`runs`, `runtime` and `permanent` entries, and `unread`: why they could not be read."""
    found: dict[str, Any] = {"runs": False, "runtime": [], "permanent": [], "unread": ""}
    if shutil.which(PROGRAM, path=programs.SYSTEM_PATH) is None or not os.path.exists(BUS):
        return found
    if programs.run([PROGRAM, "--state"], TIMEOUT)["status"] == NOT_RUNNING:
        return found
    found["runs"] = True
    for kind, options in (("runtime", []), ("permanent", ["--permanent"])):
        for listed in LISTED:
            done = programs.run([PROGRAM, *options, listed], TIMEOUT)
            if done["status"] != 0:
                found["unread"] = (done["errors"] or done["output"]).strip() or f"exit status {done['status']}"
                return found
            found[kind] += [list(entry) for entry in _entries(done["output"])]
    return found


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

"""The line of a guest kernel's console that explains its end, among a hundred of a call trace."""

from __future__ import annotations

import re

OUT_OF_MEMORY = re.compile(r"Out of memory|deadlocked on memory|invoked oom-killer")
PANIC = re.compile(r"Kernel panic - not syncing: .*")
NOISE = re.compile(r"\[<[0-9a-f]{8}>\]|[0-9a-f]{8} |(CPU|Workqueue|Stack|Call Trace|Modules|SELinux)\b.*:|Aborted$")
"""Lines of a trace, and what a healthy kernel prints too."""


def telling_line(console: str) -> str:
    """The kernel's panic, else the last line that is not a part of a trace or of a boot; empty when there is none."""
    if panic := PANIC.search(console):
        return panic[0].strip()
    lines = [line.strip() for line in console.splitlines() if line.strip() and not NOISE.match(line.strip())]
    return lines[-1] if lines else ""

"""
Units of this machine's own, and the conditions under which a boot starts them.

Source: systemd.unit(5).
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence

from lab.agent.boot import base
from lab.agent.boot.base import Obstacle, Part, settings

STARTS = re.compile(r"Exec(?:StartPre|Start|StartPost)")
BOUND = ("Requires", "BindsTo", "Requisite")
DEVICE = re.compile(r"sys-subsystem-net-devices-(\S+?)\.device")


def obstacle(path: str, text: str) -> Obstacle:
    """Why a boot does not start a unit; of a template, any of its instances counts."""
    given = [base.started(unit) for unit in _instances(path) or [os.path.basename(path)]]
    return None if None in given else given[0]


def parts(path: str, text: str, words: Sequence[str]) -> Iterator[Part]:
    """The lines of a unit that name what it runs when it starts, with its drop-ins."""
    text = "\n".join([text, *map(base.read, sorted(glob.glob(f"{path}.d/*.conf")))]).replace("\\\n", " ")
    lines: dict[str, list[str]] = {}
    taken_back: list[str] = []
    for key, value in settings(text, "Service"):
        if STARTS.fullmatch(key):
            # an empty one takes back those before it
            taken_back += lines.get(key, []) if not value else []
            lines[key] = [*lines.get(key, []), f"{key}={value}"] if value else []
    commands = "\n".join(line for each in lines.values() for line in each)
    if taken_back:
        why = f"a drop-in of {os.path.basename(path)} takes its commands back"
        yield Part("\n".join(taken_back), obstacle=(why, f"grep -n Exec {path}.d/*.conf    # then correct it"))
    needs = [
        name.replace("\\x2d", "-")
        for key, value in settings(text, "Unit")
        if key in BOUND
        for name in DEVICE.findall(value)
    ]
    for unit in _instances(path) or [""]:
        instance = unit.partition("@")[2].rpartition(".")[0]
        own = re.sub("%[iI]", instance, commands) if instance else commands
        yield Part(own, obstacle=base.unmet(text, path), needs=needs)


def _instances(path: str) -> list[str]:
    """The units of a template that others want."""
    name, at, _ = os.path.basename(path).partition("@.")
    return [os.path.basename(link) for link in base.links(f"{name}@?*.service")] if at else []

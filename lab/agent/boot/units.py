"""
Units of this machine's own, and the conditions under which a boot starts them.

Source: systemd.unit(5).
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence

from lab.agent.boot import base, devices
from lab.agent.boot.base import Obstacle, Part, settings

EXEC = re.compile(r"^Exec(?:StartPre|Start|StartPost)=.*$", re.MULTILINE)
CONDITION = re.compile(r"(?:Condition|Assert)\w+")
BOUND = ("Requires", "BindsTo", "Requisite")
DEVICE = re.compile(r"sys-subsystem-net-devices-(\S+?)\.device")


def obstacle(path: str, text: str) -> Obstacle:
    """Why a boot does not start a unit."""
    return base.started(os.path.basename(path))


def parts(path: str, text: str, words: Sequence[str]) -> Iterator[Part]:
    """The lines of a unit that name what it runs when it starts."""
    text = "\n".join([text, *map(base.read, sorted(glob.glob(f"{path}.d/*.conf")))])
    commands = "\n".join(EXEC.findall(text))
    values = settings(text, "Unit")
    found = devices.conditions([f"{key}={value}" for key, value in values if CONDITION.fullmatch(key) and value])
    needs = [name.replace("\\x2d", "-") for key, value in values if key in BOUND for name in DEVICE.findall(value)]
    shown = f"grep -n -e Condition -e Assert {path}    # then correct it"
    yield Part(commands, obstacle=(found[0], found[1] or shown) if found else None, needs=needs)

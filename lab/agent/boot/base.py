"""
What the readers of a boot's files have in common: parts of a file, why a boot does not use one, what a boot starts.

Sources: systemd.unit(5), systemd.syntax(7).
"""

from __future__ import annotations

import glob
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Optional

UNITS = "/etc/systemd/system"
WANTS = (
    UNITS,
    "/run/systemd/generator",
    "/run/systemd/generator.late",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
LARGEST = 1 << 16  # octets of a file that are read
NOT_OF_A_BOOT = ("rescue", "emergency", "halt", "poweroff", "reboot", "shutdown", "suspend", "sleep", "hibernate")
AT_BOOT = re.compile(r"^On(?:Boot|Startup|Active)Sec\s*=", re.MULTILINE)
SECTION = re.compile(r"^\s*\[([^\]]+)\]\s*$(.*?)(?=^\s*\[|\Z)", re.MULTILINE | re.DOTALL)
SETTING = re.compile(r"^\s*([\w.-]+)[ \t]*=[ \t]*(.*?)[ \t]*$", re.MULTILINE)
ADDRESS = re.compile(r"[\d./]+|[\da-fA-F]*:[\da-fA-F:.]*")
"""A word that is no device's name."""
PROGRAMS = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/lib/systemd:/lib/systemd"

Obstacle = Optional[tuple[str, str]]
"""Why a boot does not use a file, and the command that changes that ("": files for the overlay); None: it does."""


class Part(NamedTuple):
    """Lines of a file that a boot uses, or does not use, as one."""

    text: str
    devices: Sequence[str] | None = None
    """The devices that they configure; None: those that their commands name."""
    makes: bool = False
    """Whether they make these devices; if not, something else has to."""
    obstacle: Obstacle = None
    needs: Sequence[str] = ()
    """Devices without which their commands do not run."""


def whole(path: str, text: str, words: Sequence[str]) -> Iterable[Part]:
    """The parts of a file that a boot uses as a whole: commands."""
    return (Part(text),)


class Source(NamedTuple):
    """Files of one tool."""

    tool: str
    patterns: Sequence[str]
    obstacle: Callable[[str, str], Obstacle]
    """Of a file's path and its text."""
    runs: bool = False
    """Whether its files are commands, which run scripts."""
    parts: Callable[[str, str, Sequence[str]], Iterable[Part]] = whole
    """Of a file's path, its text, and the words that are searched for."""


def read(path: str) -> str:
    """A file's text without its comments; empty where it cannot be read."""
    try:
        with open(path, errors="replace") as file:
            return uncommented(file.read(LARGEST))
    except OSError:
        return ""


def uncommented(text: str) -> str:
    """A text without the lines that are comments."""
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith(("#", ";")))


def settings(text: str, *sections: str) -> list[tuple[str, str]]:
    """Names and values of the settings in these sections, in their order."""
    return [pair for name, body in SECTION.findall(text) if name in sections for pair in SETTING.findall(body)]


def masked(unit: str) -> bool:
    """Whether a unit can never be started."""
    return os.path.realpath(f"{UNITS}/{unit}") == os.devnull


def enabled(unit: str) -> bool:
    """Whether a boot starts a unit that is not masked: a unit of the boot wants it, or its timer runs at boot."""
    if masked(unit):
        return False
    wanting = {os.path.basename(os.path.dirname(path)) for path in _links(unit)}
    if any(by.partition(".target.")[0] not in NOT_OF_A_BOOT for by in wanting):
        return True
    timer = unit.replace(".service", ".timer")
    return timer != unit and bool(AT_BOOT.search(read(f"{UNITS}/{timer}"))) and enabled(timer)


def _links(unit: str) -> Iterator[str]:
    for folder in WANTS:
        for how in ("wants", "requires"):
            yield from glob.glob(f"{folder}/*.{how}/{unit}")


def started(unit: str) -> Obstacle:
    """Why a boot does not start a unit."""
    if masked(unit):
        return f"{unit} is masked", f"sudo systemctl unmask {unit} && sudo systemctl enable {unit}"
    return None if enabled(unit) else (f"{unit} is not enabled", f"sudo systemctl enable {unit}")


def program(unit: str, name: str, package: str) -> Obstacle:
    """Why a boot does not start a tool."""
    if shutil.which(name, path=PROGRAMS) is None:
        return f"{name} is not installed", f"sudo apt-get install {package}    # or what the distribution has"
    return started(unit)


def executed(path: str, text: str) -> Obstacle:
    """Why a boot does not run a script."""
    return None if os.access(path, os.X_OK) else ("it may not be executed", f"sudo chmod +x {path}")

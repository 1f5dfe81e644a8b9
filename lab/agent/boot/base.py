"""
What the readers of a boot's files have in common: parts of a file, why a boot does not use one, what a boot starts.

Sources: systemd.unit(5), systemd.syntax(7).
"""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import glob
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Optional, TypeVar

from lab.agent.execution import programs

UNITS = "/etc/systemd/system"
OF_UNITS = (UNITS, "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
"""Where units are; of one name the first counts."""
WANTS = (*OF_UNITS, "/run/systemd/generator", "/run/systemd/generator.late")
LARGEST = 1 << 16  # octets of a file that are read
OF_A_BOOT = (
    *("default", "multi-user", "basic", "sysinit", "local-fs", "local-fs-pre", "remote-fs", "remote-fs-pre", "swap"),
    *("network", "network-pre", "network-online", "nss-lookup", "nss-user-lookup", "time-sync", "time-set", "getty"),
    *("sockets", "timers", "paths", "slices", "cryptsetup", "cloud-init", "cloud-config"),
)
"""The targets that a boot reaches, apart from the graphical one."""
REPAIR = ("rescue.target", "emergency.target")
"""Default targets by which a boot ends before the others."""
BEHIND = ("default.target", "multi-user.target", "graphical.target", "getty.target")
CONDITION = re.compile(r"(?:Condition|Assert)\w+")
AT_BOOT = re.compile(r"^On(?:Boot|Startup|Active)Sec\s*=", re.MULTILINE)
SECTION = re.compile(r"^\s*\[([^\]]+)\]\s*$(.*?)(?=^\s*\[|\Z)", re.MULTILINE | re.DOTALL)
SETTING = re.compile(r"^\s*([\w.-]+)[ \t]*=[ \t]*(.*?)[ \t]*$", re.MULTILINE)
ADDRESS = re.compile(r"[\d./]+|[\da-fA-F]*:[\da-fA-F:.]*")
"""A word that is no device's name."""
PROGRAMS = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/lib/systemd:/lib/systemd"

VOLATILE = ("/run", "/tmp", "/var/run", "/dev/shm", "/sys", "/proc")
TIMEOUT = 10.0
IN_MEMORY = 'mount -n -t tmpfs overcast /media && XDG_RUNTIME_DIR=/media exec systemd-analyze "$@"'
ASIDE = ("unshare", "--mount", "sh", "-c", IN_MEMORY, "sh")
"""As root systemd-analyze(1) leaves a file in its folder of /run: here it has one that ends with it."""

BootObstacle = Optional[tuple[str, str]]
"""Why a boot does not use a file, and the command that changes that ("": files for the overlay); None: it does."""


Answer = TypeVar("Answer")
_looks: list[Any] = []


def remembered(function: Callable[..., Answer]) -> Callable[..., Answer]:
    """A function whose answers hold until `forget`: no file changes during a look."""
    cached = functools.cache(function)
    _looks.append(cached)
    return cached


def forget() -> None:
    """Another look begins."""
    for cached in _looks:
        cached.cache_clear()


class ShellCommand(NamedTuple):
    """A command that a boot runs, with what its parameters are replaced by; others stay as they are written."""

    text: str
    path: str
    """The file that it is in."""
    doubt: str = ""
    """Why it may not run; "" where it does."""
    unless: Sequence[str] = ()
    """Devices that must not have been made before."""
    obstacle: BootObstacle = None
    opaque: bool = False
    """What it does is not known."""


class Part(NamedTuple):
    """Lines of a file that a boot uses, or does not use, as one."""

    text: str
    devices: Sequence[str] | None = None
    """The devices that they configure; None: those that their commands name."""
    makes: bool = False
    """Whether they make these devices; if not, something else has to."""
    obstacle: BootObstacle = None
    needs: Sequence[str] = ()
    """Devices without which their commands do not run."""
    values: Sequence[tuple[str, str, str]] = ()
    """What they give these devices: device, setting (under the words of ip-link(8)), value."""
    commands: Sequence[ShellCommand] | None = None
    """The commands that they run, with those of the scripts that these run, in order; None: they are settings."""


class Source(NamedTuple):
    """Files of one tool."""

    tool: str
    patterns: Sequence[str]
    obstacle: Callable[[str, str], BootObstacle]
    """Of a file's path and its text."""
    parts: Callable[[str, str, Sequence[str]], Iterable[Part]]
    """Of a file's path, its text, and the words that are searched for."""
    runs: bool = False
    """Whether its files are commands, which run scripts."""


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


def enabled(unit: str, wanted: Sequence[str] = ()) -> bool:
    """Whether a boot starts a unit that is not masked: a unit of the boot wants it, or its timer runs at boot."""
    if masked(unit) or unit in wanted:
        return False
    wanting = {os.path.basename(os.path.dirname(path)).rpartition(".")[0] for path in links(unit)}
    wanting |= {by for by, starts in _own_units() if by != unit and unit in starts}
    if any(_reached(by, (*wanted, unit)) for by in wanting):
        return True
    return any(AT_BOOT.search(text) and enabled(timer) for timer, text in _triggers(unit) if timer.endswith(".timer"))


@remembered
def _own_units() -> list[tuple[str, list[str]]]:
    """The services and targets of this machine's own, each with the units that it starts."""
    paths = [path for path in unit_files("*.service", "*.target") if path.startswith(OF_UNITS[:2])]
    return [(os.path.basename(path), _wanted_by(whole(path))) for path in paths]


def _wanted_by(text: str) -> list[str]:
    """The units that a unit starts."""
    found = [
        value.split() for key, value in settings(text, "Unit") if key in ("Wants", "Requires", "BindsTo", "Upholds")
    ]
    return [name for each in found for name in each]


def _triggers(unit: str) -> Iterator[tuple[str, str]]:
    """The timers, paths and sockets that start a service, each with its text."""
    name = unit.rpartition(".")[0]
    for path in unit_files("*.timer", "*.path", "*.socket") if unit.endswith(".service") else ():
        text = whole(path)
        values = dict(SETTING.findall(text))
        given = values.get("Unit") or values.get("Service") or os.path.basename(path)
        if given.rpartition(".")[0] == name:
            yield os.path.basename(path), text


@remembered
def unit_files(*patterns: str) -> list[str]:
    """Units by their names, of one name the first."""
    by_name: dict[str, str] = {}
    for folder in OF_UNITS:
        for path in (path for pattern in patterns for path in glob.glob(f"{folder}/{pattern}")):
            by_name.setdefault(os.path.basename(path), path)
    return [by_name[name] for name in sorted(by_name)]


@remembered
def drop_ins(unit: str) -> list[str]:
    """The drop-ins of a unit, in order."""
    by_name: dict[str, str] = {}
    for folder in OF_UNITS:
        for path in glob.glob(f"{folder}/{unit}.d/*.conf") if os.path.isdir(f"{folder}/{unit}.d") else ():
            by_name.setdefault(os.path.basename(path), path)
    return [by_name[name] for name in sorted(by_name)]


@remembered
def whole(path: str) -> str:
    """A unit's text with its drop-ins."""
    return "\n".join(map(read, [path, *drop_ins(os.path.basename(path))]))


def _reached(unit: str, wanted: Sequence[str]) -> bool:
    """Whether a boot starts a unit that wants another one."""
    name, _, kind = unit.rpartition(".")
    target = _default_target()
    if target in REPAIR and unit in BEHIND:
        return False
    if unit == "graphical.target":
        return target in ("", unit)
    return kind not in ("target", "service") or name in OF_A_BOOT or enabled(unit, wanted)


def links(unit: str) -> list[str]:
    """The links by which units want a unit, or those of a pattern."""
    return [path for path in _links() if fnmatch.fnmatchcase(os.path.basename(path), unit)]


@remembered
def _default_target() -> str:
    """The target that a boot starts; empty where none is named."""
    named = [f"{folder}/default.target" for folder in OF_UNITS]
    default = next(filter(os.path.lexists, named), "")
    return os.path.basename(os.path.realpath(default)) if default else ""


@remembered
def _links() -> list[str]:
    every = [f"{folder}/*.{how}/*" for folder in WANTS for how in ("wants", "requires", "upholds")]
    return [path for pattern in every for path in glob.glob(pattern)]


def started(unit: str) -> BootObstacle:
    """Why a boot does not start a unit."""
    if masked(unit):
        return f"{unit} is masked", f"sudo systemctl unmask {unit} && sudo systemctl enable {unit}"
    if not enabled(unit):
        if event := _event(unit):
            return f"whether {event} starts {unit} at boot cannot be determined", f"sudo systemctl enable {unit}"
        return f"{unit} is not enabled", f"sudo systemctl enable {unit}"
    return unmet("\n".join(map(read, drop_ins(unit))), f"{UNITS}/{unit}.d/*.conf")


def _event(unit: str) -> str:
    """What may start a unit that nothing wants: a path, a socket, a rule of udev."""
    for trigger, _ in _triggers(unit):
        if not trigger.endswith(".timer") and enabled(trigger):
            return trigger
    return next((path for path in sorted(glob.glob("/etc/udev/rules.d/*.rules")) if unit in read(path)), "")


def unmet(text: str, shown: str) -> BootObstacle:
    """Why the conditions of a unit's text do not hold."""
    wanted = [f"{key}={value}" for key, value in settings(text, "Unit") if CONDITION.fullmatch(key) and value]
    found = conditions(wanted)
    fix = f"grep -n -e Condition -e Assert {shown}    # then correct it"
    return (found[0], found[1] or fix) if found else None


def conditions(lines: Sequence[str]) -> BootObstacle:
    """Why conditions of systemd, all of them together, do not hold on this machine, or cannot be determined."""
    lines = [line for line in lines if not _of_now(line)]
    if not lines:
        return None
    if volatile := [line for line in lines if line.partition("=")[2].lstrip("|").startswith(VOLATILE[:4])]:
        return f"whether {volatile[0]} holds at boot cannot be determined", ""
    return _determined(tuple(lines))


@remembered  # several units of a distribution have the same ones, and each takes a program
def _determined(lines: tuple[str, ...]) -> BootObstacle:
    with contextlib.suppress(OSError):
        asked = ["condition", *lines]
        aside = [*ASIDE, "--user", *asked] if os.geteuid() == 0 else ["systemd-analyze", *asked]
        done = programs.run(aside, TIMEOUT)
        failed = re.findall(r": ((?:Condition|Assert)\w+=.*) failed\.$", done["errors"] + done["output"], re.MULTILINE)
        if done["status"] == 0:
            return None
        if failed:
            return f"{failed[0]} does not hold on this host", ""
    return f"whether {', '.join(lines)} holds cannot be determined", f"systemd-analyze condition '{lines[0]}'"


def _of_now(line: str) -> bool:
    """Whether a condition is that something is not there which a boot begins without."""
    _, _, value = line.partition("=")
    return value.lstrip("|").startswith("!") and value.lstrip("|!").startswith(VOLATILE)


def program(unit: str, name: str, package: str) -> BootObstacle:
    """Why a boot does not start a tool."""
    if shutil.which(name, path=PROGRAMS) is None:
        return f"{name} is not installed", f"sudo apt-get install {package}    # or what the distribution has"
    return started(unit) or replaced(unit, name)


def replaced(unit: str, name: str) -> BootObstacle:
    """Why a tool's unit starts something else: a unit of the same name, or a drop-in, has other commands."""
    lines: list[str] = []
    given = [
        value for path in unit_files(unit) for key, value in settings(whole(path), "Service") if key == "ExecStart"
    ]
    for value in given:
        lines = [*lines, value] if value else []
    if given and not any(name in line for line in lines):
        return f"{unit} does not start {name}", f"systemctl cat {unit}    # then correct ExecStart="
    return None


def executed(path: str, text: str) -> BootObstacle:
    """Why a boot does not run a script."""
    if not os.access(path, os.X_OK):
        return "it may not be executed", f"sudo chmod +x {path}"
    with open(path, errors="replace", newline="") as file:
        first = file.readline()
    if first.startswith("#!"):
        program = first[2:].rstrip("\n").split()[:1]
        if first.endswith("\r\n"):
            return carriage_returns(path, first)
        if not program or not os.path.exists(program[0]):
            return f"its interpreter {' '.join(program)} is not installed", f"sudo sed -i '1s|.*|#!/bin/sh|' {path}"
    return carriage_returns(path, text)


def carriage_returns(path: str, text: str) -> BootObstacle:
    """Why a shell does not run a file that was written on Windows."""
    with open(path, errors="replace", newline="") as file:
        text = file.read(LARGEST)
    if "\r\n" in text:
        why = "its lines end with a carriage return (\\r), which a shell does not ignore"
        return why, f"sudo sed -i 's/\\r$//' {path}"
    return None


def runnable(path: str, text: str) -> BootObstacle:
    """Why a boot does not run a script, where no shell does that starts it without an interpreter, too."""
    with open(path, "rb") as file:
        if file.read(2) not in (b"#!", b"\x7fE"):
            return "it does not begin with #!, so that it cannot be started", f"sudo sed -i '1i #!/bin/sh' {path}"
    return executed(path, text)


def left_out(path: str, by: str) -> BootObstacle:
    """Why a program that runs a folder's scripts leaves one out."""
    folder, _, name = path.rpartition("/")
    if "." in name:
        return f"{by} leaves out names with a dot", f"sudo mv {path} {folder}/{name.replace('.', '-')}"
    return None

"""
Which files that a boot may read name something (a device, an address, a route), and why a boot would not use one.

Comments in a file do not count.  A file may be unused: its tool is not enabled or not installed, it may not be
executable, it waits for a command, or it is for another device than those that this host has at boot, or will have
made by then.  A device counts as made by a file that makes it, not by one that configures it only.
Sources: crontab(5), nft(8), netfilter-persistent(8), systemd-rc-local-generator(8), ip-link(8), and cloud-init's
per-boot scripts; of the tools, those of their modules.
"""

from __future__ import annotations

import glob
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from lab.agent.boot import base
from lab.agent.boot import devices as boot_devices
from lab.agent.boot.base import ADDRESS, LARGEST, UNITS, BootObstacle, Part, ShellCommand, Source, read, uncommented
from lab.agent.boot.shell import effects, programs, values
from lab.agent.boot.sources import FIREWALLS, NFTABLES, SOURCES, UNIT
from lab.agent.firewall import saved

RUN = re.compile(r"(?<![\w./-])(/[\w./@-]+)")
SHOWN = 60  # characters of a command
OF_HOST = re.compile(r"^Exec\w+=.*(?:/(?:usr/local|opt|root|etc|home|srv)/|\bip\s)", re.MULTILINE)
RC_LOCAL = ("rc-local.service", "rc.local.service")
"""The units of `rc.local`, which is a source of its own."""
ANYTHING = ("eval", "sh", "bash", "dash", "ip", ".", "source", "sudo")
"""Commands that may make anything."""
USED = re.compile(r"\bdev\s+([A-Za-z][\w.-]*)(?![\w.-]*[$`{])")
"""The device that a command needs."""
UNKNOWN = "cannot be determined"
GROUP = re.compile(r"(?:2(?:2[4-9]|3\d)(?:\.\d+){3}|ff[\da-f:]+)(?:/\d+)?", re.IGNORECASE)


class NamingPart(NamedTuple):
    """A part of a file, with the words that it names, and why a boot does not use it."""

    entry: dict[str, Any]
    part: Part
    obstacle: BootObstacle


def naming(words: Sequence[str], *, firewalls: bool = False) -> list[dict[str, Any]]:
    """
    The files that name any of the words, in which a word stands by itself, and those that may not be read.

    Of each: `path`, `tool`, `words`; `obstacle` and `fix`: why a boot does not use it, and what changes that (empty: it
    uses it, or takes files for the overlay); `values`: what it gives devices (`Part.values`); `unread`.
    `firewalls`: the files of firewalls, too, with their `rules`, and the `changes` by commands of iptables.
    """
    base.forget()
    found: list[NamingPart] = []
    for source, path in roots((*SOURCES, *FIREWALLS) if firewalls else SOURCES):
        entry = {
            "path": path,
            "tool": source.tool,
            "words": [],
            "obstacle": "",
            "fix": "",
            "unread": False,
            "values": [],
        }
        try:
            with open(path, errors="replace") as file:
                text = uncommented(file.read(LARGEST))
        except PermissionError:
            found.append(NamingPart({**entry, "unread": True}, Part(""), None))
            continue
        except OSError:
            continue
        for part in source.parts(path, text, words):
            if part.commands is None:
                obstacle = part.obstacle or source.obstacle(path, part.text)
                found.append(NamingPart({**entry, "words": _named(words, part.text)}, part, obstacle))
                continue
            if source not in FIREWALLS and not any(_concerned(command, words) for command in part.commands):
                continue
            obstacle = part.obstacle or source.obstacle(path, part.text)
            # with the scripts that it runs
            for script in dict.fromkeys(command.path for command in part.commands):
                own = [command for command in part.commands if command.path == script]
                named = _named(words, "\n".join(command.text for command in own))
                naming_part = NamingPart(
                    {**entry, "path": script, "words": named}, part._replace(commands=own), obstacle
                )
                found.append(naming_part)
    return [_made_as_written(entry) for one in found for entry in _judged(one, found, words, firewalls)]


def _made_as_written(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry whose devices a module's configuration or a .link file may change is not certain."""
    kinds = [(device, value) for device, what, value in entry["values"] if what == "kind"]
    found = next(filter(None, (boot_devices.changed(*one) for one in kinds)), None)
    return {**entry, "obstacle": found[0], "fix": found[1], "values": []} if found else entry


def _concerned(command: ShellCommand, words: Sequence[str]) -> bool:
    """Whether a command may be about any of the words."""
    return command.opaque or bool(_named(words, command.text)) or bool(effects.hidden(command.text))


def _named(words: Sequence[str], text: str) -> list[str]:
    return [word for word in words if _occurrences(word, text)]


def _occurrences(word: str, text: str) -> list[re.Match[str]]:
    """Where a word stands by itself; a network (224.0.0.0/4) may stand without its prefix, but not with another one."""
    address, slash, prefix = word.partition("/")
    ending = rf"(?:/{prefix}(?!\d)|(?![\w./]))" if slash else r"(?![\w.])"
    return list(re.finditer(rf"(?<![\w.]){re.escape(address)}{ending}", text))


def _judged(
    one: NamingPart, found: Sequence[NamingPart], words: Sequence[str], firewalls: bool
) -> Iterator[dict[str, Any]]:
    """What a boot makes of the words by a part, and what it does not."""
    entry, part, obstacle = one
    obstacle = obstacle or _lacking(part.needs, [other for other in found if other is not one], "")
    if entry["unread"]:
        yield entry
        return
    if part.commands is not None and firewalls:
        run = [one for one in part.commands if effects.program(one.text) not in effects.PRINTING]
        certain = [one.text for one in run if not (one.doubt or one.obstacle or one.opaque or one.unless)]
        entry = {**entry, "words": _named(words, "\n".join(one.text for one in run)), "rules": [], "changes": []}
        if entry["path"] in NFTABLES:
            entry["rules"] = saved.of_nft(entry["path"])
        elif entry["tool"] == "iptables":
            entry["rules"] = saved.of_iptables(part.text)
        elif entry["tool"] != "nft":
            entry["changes"] = list(saved.changes(certain))
            doubtful = [one for one in run if one.text not in certain or effects.program(one.text) == "nft"]
            carriers = [word for word in words if word not in effects.FIREWALLS]
            entry["unsure"] = bool(_named(carriers, "\n".join(one.text for one in doubtful)))
        if entry["rules"] or entry["changes"]:
            yield {**entry, "obstacle": (obstacle or ("", ""))[0], "fix": (obstacle or ("", ""))[1]}
            return
    elif part.commands is not None and not obstacle:
        yield from _of_commands(entry, part, found, words)
        return
    if part.devices is not None:
        mine = [device for device in part.devices if device in words]
        if not obstacle and not part.makes:
            for device in mine:
                if missing := _lacking([device], found, ""):
                    lost = [device] if len(mine) > 1 else entry["words"]
                    entry = {**entry, "words": [word for word in entry["words"] if word not in lost]}
                    yield {**entry, "words": lost, "obstacle": missing[0], "fix": missing[1]}
        if not mine:
            # of another device's settings, only the route of the groups could be meant for the overlay
            entry = {**entry, "words": [word for word in entry["words"] if GROUP.fullmatch(word)]}
            device = next(iter(part.devices), "nothing")
            obstacle = obstacle or (f"it configures {device}, which is not a device of the overlay", "")
    if entry["words"]:
        why, fix = obstacle or ("", "")
        yield {**entry, "obstacle": why, "fix": fix, "values": [] if why else part.values}


def _of_commands(
    entry: dict[str, Any], part: Part, found: Sequence[NamingPart], words: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """The words of commands whose devices exist at boot, those of the others, and those that a script hides."""
    devices = [word for word in words if not ADDRESS.fullmatch(word)]
    lost: dict[tuple[str, str], list[str]] = {}
    usable: set[str] = set()
    given: list[values.DeviceSetting] = []
    for command in part.commands or ():
        if effects.program(command.text) in effects.SILENT and not command.opaque:
            continue
        shown = " ".join(command.text.split())
        fix = f"grep -n -F {shlex.quote(shown[:20])} {entry['path']}"
        named, mentioned, doubtful = _words_of(command, devices, words, lost)
        if command.obstacle:
            lost.setdefault(command.obstacle, []).extend(named + doubtful)
            continue
        if why := _unsure(command, found, named):
            lost.setdefault((why, fix), []).extend(named + doubtful)
            continue
        if doubtful:
            lost.setdefault((f"what `{shown[:SHOWN]}` makes {UNKNOWN}", fix), []).extend(doubtful)
        if missing := _lacking([*USED.findall(command.text), *mentioned], found, _made_by(part)):
            lost.setdefault(missing, []).extend(named)
        else:
            usable |= set(named)
            given += values.of(command.text)
    if usable:
        yield {**entry, "words": [word for word in words if word in usable], "values": given}
    for (reason, fix), lost_words in lost.items():
        if left := [word for word in words if word in lost_words and word not in usable]:
            yield {**entry, "words": left, "obstacle": reason, "fix": fix}


def _words_of(
    command: ShellCommand, devices: Sequence[str], words: Sequence[str], lost: dict[tuple[str, str], list[str]]
) -> tuple[list[str], list[str], list[str]]:
    """The words that a command makes or uses, those of the latter, and those of which it is not known."""
    text = command.text
    if command.opaque:
        named = _named(words, text)
        every = effects.program(text) in ANYTHING and bool(effects.OPAQUE.search(text) or not named)
        return [], [], list(words) if every else named
    named = [] if effects.REMOVES.search(text) else _named(words, text)
    mentioned: list[str] = []
    doubtful: list[str] = []
    for name in [one for one in named if one in devices and not _makes(text, one)]:
        before = [text[: one.start()] for one in _occurrences(name, text)]
        (mentioned if all(effects.mentions(text, one) for one in before) else doubtful).append(name)
    for group in [one for one in named if GROUP.fullmatch(one)]:
        if unusable := _route(text, devices):
            lost.setdefault(unusable, []).append(group)
            named.remove(group)
        elif not effects.ROUTES.search(text) or effects.BY_VARIABLE.search(text):
            doubtful.append(group)
    named = [one for one in named if one not in doubtful]
    hidden = effects.hidden(text)
    doubtful += [word for word in words if _kind(word) in hidden and word not in {*named} - {*mentioned}]
    return named, mentioned, doubtful


def _unsure(command: ShellCommand, found: Sequence[NamingPart], named: Sequence[str]) -> str:
    """Why a command may not run at boot."""
    shown = " ".join(command.text.split())[:SHOWN]
    made_elsewhere = [
        device
        for device in command.unless
        if device not in named or not _makes(command.text, device)
        if any(_made(one, device) for one in found if command not in (one.part.commands or ()))
    ]
    why = command.doubt or (f"{made_elsewhere[0]} may be there before" if made_elsewhere else "")
    return f"whether `{shown}` runs {UNKNOWN}: {why}" if why else ""


def _made_by(part: Part) -> str:
    """The commands of a part that certainly run."""
    return "\n".join(one.text for one in part.commands or () if not one.doubt and not one.obstacle and not one.opaque)


def _kind(word: str) -> str:
    return "route" if GROUP.fullmatch(word) else "address" if ADDRESS.fullmatch(word) else "device"


def _route(command: str, devices: Sequence[str]) -> BootObstacle:
    """Why a command that names the groups makes no route of the overlay; None: it may."""
    other = [one for one in USED.findall(command) if one not in devices]
    if effects.ROUTES.search(command) and not effects.ELSEWHERE.search(command):
        return (f"it configures {other[0]}, which is not a device of the overlay", "") if other else None
    return ("it makes no route", "") if effects.program(command) in effects.OF_LINKS else None


def _lacking(devices: Sequence[str], found: Sequence[NamingPart], text: str) -> BootObstacle:
    """The first of the devices that there will not be at boot."""
    for name in devices:
        given = {device.name for device in boot_devices.found()}
        if name in given or _makes(text, name) or any(_made(one, name) for one in found):
            continue
        renamed = next((device for device in boot_devices.found() if device.was == name), None)
        if renamed:
            why = f"it uses {name}, which {renamed.renamed_by} renames to {renamed.name} at boot"
            return why, f"grep -n Name {renamed.renamed_by}    # then correct it"
        return f"it uses {name}, which this host does not have at boot, and no file makes it", ""
    return None


def _made(one: NamingPart, name: str) -> bool:
    """Whether a boot makes a device by a part of a file."""
    if one.obstacle:
        return False
    if one.part.devices is not None:
        return one.part.makes and name in one.part.devices
    return _makes(_made_by(one.part), name)


def _makes(text: str, name: str) -> bool:
    """Whether commands make a device."""
    return any(effects.made(command) == name for command in text.split("\n"))


def roots(sources: Sequence[Source]) -> list[tuple[Source, str]]:
    """The files of all sources and units."""
    found = [(source, path) for source in sources for each in source.patterns for path in sorted(glob.glob(each))]
    return [*found, *((UNIT, path) for path in base.unit_files("*.service") if _own_unit(path))]


def files(sources: Sequence[Source]) -> Iterator[tuple[Source, str]]:
    """The same with the scripts that they run, and those that these run."""
    found = roots(sources)
    seen = {path for _, path in found}
    for source, path in found:
        yield source, path
        if source.runs:
            yield from _scripts(source, path, seen)


def _own_unit(path: str) -> bool:
    """Whether a unit, which may be the distribution's, runs something of the host's own."""
    if path.startswith(UNITS):
        return True
    return os.path.basename(path) not in RC_LOCAL and bool(OF_HOST.search(base.whole(path)))


def _scripts(source: Source, parent: str, seen: set[str]) -> Iterator[tuple[Source, str]]:
    for path in RUN.findall(_commands(source, parent)):
        if path not in seen and os.path.isfile(path) and path.startswith(programs.OWN_SCRIPTS):
            seen.add(path)
            yield (script := _run_by(source, parent)), path
            yield from _scripts(script, path, seen)


def _commands(source: Source, path: str) -> str:
    """The lines of a file that a boot uses, or could use."""
    return "\n".join(part.text for part in source.parts(path, read(path), ()))


def _run_by(source: Source, parent: str) -> Source:
    """A script that a file of a source runs; by a shell, it need not be executable."""

    def obstacle(path: str, text: str) -> BootObstacle:
        lines = _commands(source, parent)
        parts = [part for part in source.parts(parent, read(parent), ()) if path in part.text]
        by_shell = re.search(
            rf"\b(?:ba|da)?sh\s+(?:-\w+\s+)*{re.escape(path)}(?![\w.])|(?:\.|source|-b|-batch)\s+{re.escape(path)}",
            lines,
        )
        own = parts[0].obstacle if parts and all(part.obstacle for part in parts) else None
        by_systemd = re.search(rf"^Exec\w+=[-@+!:]*{re.escape(path)}(?!\S)", lines, re.MULTILINE)
        may_run = base.runnable if by_systemd else base.executed
        return own or source.obstacle(parent, lines) or (None if by_shell else may_run(path, text))

    def parts(path: str, text: str, words: Sequence[str]) -> Iterator[Part]:
        yield Part(text, commands=programs.raw(path, text))

    return Source(source.tool, (), obstacle, parts)

"""
The commands of a shell's script, with the variables that have one value, or the values of one list, replaced.

Not read: what a function or a script is called with, what a command puts out, and which branch is taken; a command
whose variables remain is not known (`OPAQUE`).  Sources: sh(1), ip-link(8), ip-route(8), brctl(8).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence

SEPARATOR = re.compile(r"\n|;|&&|\|\||\||&(?![>\d])")
PROSE = re.compile(r"^(.*\b(?:cat|tee)\b.*<<-?\s*[\"']?(\w+)[\"']?.*)\n(?:.*\n)*?\s*\2[ \t]*$", re.MULTILINE)
"""A document that is written to a file, and not run."""
OPENING, CLOSING = (
    re.compile(r"\b(?:if|case|do)\b|\{(?=\s|$)"),
    re.compile(r"\b(?:fi|esac|done)\b|^\s*\}", re.MULTILINE),
)
ENDS = re.compile(r"^\s*(?:exit\b|exec\s+[\w/.])")
ASSIGNED = re.compile(r"^\s*(?:(?:export|local|readonly)\s+)?([A-Za-z_]\w*)=(\"[^\"]*\"|'[^']*'|\S*)\s*$")
LIST = re.compile(r"^\s*for\s+(\w+)\s+in\s+(.*)$")
DEPTH = 3  # variables that have a value by another one
VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")
OPAQUE = re.compile(r"[$`]|\{\d+\.\.|\*")
START = re.compile(r"^\s*(?:Exec\w+=[-@+!:]*|(?:pre-|post-)?up\s+|@reboot\s+(?:root\s+)?)")
HEAD = re.compile(
    r"^\s*(?:(?:if|then|else|elif|do|while|until|!|\{|sudo|exec|time|env|nohup|[\w.|*-]+\))\s+"
    r"|(?:/\S*/)?(?:ba|da)?sh\s+-\w*c\s+[\"'])*\s*"
)
"""What stands before the program of a command."""
PRINTING = ("echo", "printf", "logger", "test", "[", "[[", "grep", "sleep", "cat", "ping", "for", "case", "true", "rm")
FIREWALLS = ("iptables", "ip6tables", "nft", "ufw", "firewall-cmd", "ebtables", "iptables-restore", "ipset")
SILENT = (*PRINTING, *FIREWALLS)
"""Programs that make neither devices nor routes."""
OF_LINKS = (
    "ip",
    "bridge",
    "brctl",
    "ifconfig",
    "route",
    "ethtool",
    "tc",
    "sysctl",
    "ifup",
    "ifdown",
    "ovs-vsctl",
    "nmcli",
)
MENTIONED = re.compile(
    r"(?:(?:\b(?:dev|set|show|del|delete|flush|master|iif|oif|up|down|change|ifup|ifconfig|stp|setfd)"
    r"|\b(?:addif|delif)(?:\s+\S+)?|(?<!\S)-[iIo]|\bethtool\s+-\w+)\s+|/)[\"']?$"
)
"""What stands before the name of a device that a command does not make."""
LINK = r"\b(?:l|li|link|tu|tun|tunnel)\s+(?:a|ad|add|replace)\b"
MAKES = re.compile(rf"(?:{LINK}(?:(?!\b(?:type|mode)\b).)*\s|{LINK}.*\bname\s+|\b(?:addbr|add-br|ifname)\s+)[\"']?$")
"""What stands before the name of a device that a command makes."""
PARENT = re.compile(rf"{LINK}.*\b(?:link|master)\s+[\"']?$")
ADDS = re.compile(rf"{LINK}|\b(?:addbr|add-br)\b")
TYPE = re.compile(r"\b(?:type|mode)\s+(\w+)")
OVERLAY = ("gretap", "ip6gretap", "vxlan", "geneve", "bridge", "bond", "hsr")
ROUTES = re.compile(r"\b(?:r|ro|rou|route)\s+(?:-\w+\s+)*(?:a|ad|add|replace|append|change)\b")
BY_VARIABLE = re.compile(r"\bdev\s+[\"']?[$`]")
ADDRESSES = re.compile(r"\ba(?:ddr|ddress)?\s+(?:add|replace)\b|\bifconfig\b")
ELSEWHERE = re.compile(r"\b(?:blackhole|unreachable|prohibit|throw)\b|\btable\s+(?!main\b|254\b)")
REMOVES = re.compile(r"\b(?:del|delete|flush|show)\b")
"""Commands that make nothing."""
MOST = 64  # commands that one stands for


def commands(text: str) -> list[str]:
    """The commands that a shell may run, without what is before their program."""
    text = PROSE.sub(r"\1", text.replace("\\\n", " "))
    plain = [START.sub("", command) for line in _run(text) for command in SEPARATOR.split(line)]
    values = _variables(plain)
    found = [one for command in plain if not LIST.match(command) for one in _replaced(command, values)]
    return [HEAD.sub("", one) for one in found if not ASSIGNED.match(one)]


def _run(text: str) -> Iterator[str]:
    """The lines up to one that ends the script."""
    depth = 0
    for line in text.splitlines():
        yield line
        if depth == 0 and ENDS.match(line):
            return
        depth = max(0, depth + len(OPENING.findall(line)) - len(CLOSING.findall(line)))


def _variables(plain: Sequence[str]) -> dict[str, list[str]]:
    """The variables that are set once, each with its value, or with those of a list."""
    found: dict[str, list[str]] = {}
    lists = set()
    for command in plain:
        if one := LIST.match(command) or ASSIGNED.match(command):
            found.setdefault(one[1], []).append(one[2].strip("\"'"))
            lists |= {one[1]} if LIST.match(command) else set()
    values = {name: given for name, given in found.items() if len(given) == 1}
    for _ in range(DEPTH):
        values = {name: [one for value in given for one in _replaced(value, values)] for name, given in values.items()}
    known = {name: given for name, given in values.items() if not OPAQUE.search(" ".join(given))}
    return {name: " ".join(given).split() if name in lists else given for name, given in known.items()}


def _replaced(text: str, values: Mapping[str, Sequence[str]]) -> list[str]:
    """A command for each combination of the values of its variables."""
    names = [name for name in dict.fromkeys(one[1] or one[2] for one in VARIABLE.finditer(text)) if name in values]
    made = []
    for chosen in itertools.islice(itertools.product(*(values[name] for name in names)), MOST):
        pairs = dict(zip(names, chosen))
        made.append(text)
        for name, value in pairs.items():
            made[-1] = re.sub(rf"\$(?:{name}\b|\{{{name}\}})", value.replace("\\", r"\\"), made[-1])
    return made


def program(command: str) -> str:
    """The program of a command, without its folder."""
    first = command.split(None, 1)[:1]
    return first[0].strip("\"'").rpartition("/")[2] if first else ""


def makes(command: str, before: str) -> bool:
    """Whether a command makes the device whose name follows `before`."""
    return program(command) not in SILENT and bool(MAKES.search(before)) and not PARENT.search(before)


def mentions(command: str, before: str) -> bool:
    """Whether a command only uses, or shows, the device whose name follows `before`."""
    return program(command) in (*SILENT, *OF_LINKS) or bool(MENTIONED.search(before))


def hidden(command: str) -> frozenset[str]:
    """What a command gives by variables: `device`, `route`, `address`."""
    places = [re.sub(r"\S*$", "", command[: one.start()]) for one in OPAQUE.finditer(command)]
    if not places or program(command) in SILENT or REMOVES.search(command):
        return frozenset()
    if ADDS.search(command):
        kind = TYPE.search(command)
        if kind and kind[1] not in OVERLAY and not OPAQUE.search(kind[1]):
            return frozenset()
        return frozenset({"address", "device"} if any(makes(command, before) for before in places) else {"address"})
    if ROUTES.search(command):
        return frozenset({"route"})
    return frozenset({"address"} if ADDRESSES.search(command) else ())

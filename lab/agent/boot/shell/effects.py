"""
What a command makes, uses, removes or hides of devices, routes and addresses, by its words.

A command whose parameters remain is not known (`OPAQUE`).  Sources: ip-link(8), ip-route(8), brctl(8).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

OPAQUE = re.compile(r"[$`]|\{\d+\.\.|\*")
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
BRIDGE = re.compile(r"\b(?:addbr|add-br)\s+(?:--\S+\s+)*(\S+)")
ADDING = re.compile(rf"{LINK}\s+(.*)", re.DOTALL)
VALUED = (
    *("link", "address", "broadcast", "mtu", "index", "txqueuelen", "txqlen", "qlen", "numtxqueues", "numrxqueues"),
    *("gso_max_size", "gso_max_segs", "group", "master", "alias", "netns", "link-netns"),
)
FLAGS = ("up", "down")
REMOVED = re.compile(
    r"\b(?:l|li|link|tu|tun|tunnel)\s+(?:d|de|del|delete)\s+(?:dev\s+|name\s+)?(\S+)|\b(?:delbr|del-br)\s+(\S+)"
    r"|\blink\s+set\s+(?:dev\s+)?(\S+)\s.*\b(?:name|netns)\s"
)


def program(command: str) -> str:
    """The program of a command, without its folder."""
    first = command.split(None, 1)[:1]
    return first[0].strip("\"'").rpartition("/")[2] if first else ""


def makes(command: str, before: str) -> bool:
    """Whether a command makes the device whose name follows `before`."""
    return program(command) not in SILENT and bool(MAKES.search(before)) and not PARENT.search(before)


def made(command: str) -> str:
    """The device that a command makes; "" for other commands."""
    if REMOVES.search(command) or program(command) in SILENT:
        return ""
    if bridge := BRIDGE.search(command):
        return bridge[1].strip("\"'")
    if not (adding := ADDING.search(command)):
        return ""
    words = re.split(r"\s(?:type|mode)\s", adding[1])[0].split()
    if named := [words[at + 1] for at, word in enumerate(words[:-1]) if word in ("name", "dev")]:
        return named[0].strip("\"'")
    while words:
        word = words.pop(0)
        if word in VALUED:
            words = words[1:]
        elif word not in FLAGS:
            return word.strip("\"'")
    return ""


def removed(command: str) -> str:
    """The device that a command removes, renames, or moves away; "" for other commands."""
    found = REMOVED.search(command)
    return next(filter(None, found.groups()), "") if found else ""


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


UNDOING = (
    (re.compile(r"\ba(?:ddr|ddress)?\s+(?:d|de|del|delete)\s+([\d.]+)"), ADDRESSES),
    (re.compile(r"\ba(?:ddr|ddress)?\s+(?:f|flush)\s+(?:dev\s+)?(\S+)"), ADDRESSES),
    (re.compile(r"\b(?:r|ro|rou|route)\s+(?:-\w+\s+)*(?:d|de|del|delete)\s+(?:-net\s+)?([\d.]+)"), ROUTES),
    (re.compile(r"\b(?:r|ro|rou|route)\s+(?:f|flush)\s+(?:dev\s+)?(\S+)"), ROUTES),
    (re.compile(r"\blink\s+set\s+(?:dev\s+)?(\S+)\s.*\bdown\b"), ROUTES),
    (re.compile(r"\bifconfig\s+(\S+)\s+down\b"), ROUTES),
)
"""What undoes a command before it: of what, and which commands."""


def undoes(command: str, earlier: str) -> bool:
    """Whether a command undoes an earlier one."""
    if program(command) in SILENT:
        return False
    if (device := removed(command)) and stands(device, earlier):
        return True
    for undoing, undone in UNDOING:
        if (found := undoing.search(command)) and undone.search(earlier):
            return stands(found[1], earlier) or found[1] in ("all", "table")
    return False


def stands(word: str, text: str) -> bool:
    """Whether a word stands by itself in a text."""
    return bool(re.search(rf"(?<![\w.]){re.escape(word)}(?![\w.])", text))


def searched(listing: Sequence[str], search: Sequence[str]) -> str | None:
    """The device that `grep` searches in a list of all devices: "" where it is not known, None for other commands."""
    plain = [one for one in listing if not one.startswith("-")]
    if plain[:1] != ["ip"] or plain[1:2] not in (["link"], ["l"], ["a"], ["addr"], ["address"]):
        return None
    if plain[2:] not in ([], ["show"], ["list"], ["sh"], ["ls"]) or search[:1] not in (["grep"], ["egrep"]):
        return None
    names = [one.strip(" :^$") for one in search[1:] if not one.startswith("-")]
    return names[0] if len(names) == 1 and "$" not in names[0] else ""


PRINTS = ("echo", "printf", "cat")
FILTERS = (
    *("grep", "egrep", "sed", "awk", "cut", "tr", "sort", "head", "tail", "wc", "tee", "logger", "cat", "uniq", "read"),
    *("while", "systemd-cat", "mail", "md5sum", "sha256sum", "column", "jq", "test"),
)
"""Programs that run nothing of what they read."""


def read_as_commands(printed: Sequence[str], reader: Sequence[str]) -> bool:
    """Whether a program may run what another prints."""
    return printed[:1] != [] and printed[0] in PRINTS and reader[:1] != [] and reader[0] not in FILTERS

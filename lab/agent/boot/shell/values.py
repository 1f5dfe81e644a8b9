"""
What commands give devices, addresses and routes: `(device, setting, value)`, under the words of ip-link(8).

Sources: ip-link(8), ip-address(8), ip-route(8), ifconfig(8), brctl(8).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network

from lab.agent.boot.shell import effects

DeviceSetting = tuple[str, str, str]
OPTIONS = {
    **{name: name for name in ("mtu", "remote", "local", "ttl", "key", "stp_state", "mcast_snooping")},
    "id": "vni",
    "vni": "vni",
    "group": "remote",
    "dstport": "port",
    "hoplimit": "ttl",
}
"""Words of ip-link(8), each with the setting's name."""
DEFAULTS = {"gretap": (("ttl", "inherit"), ("key", "none"))}
"""Settings that a tunnel of a kind has without a word."""
GROUPS = re.compile(r"2(?:2[4-9]|3\d)\.")
CHANGED = re.compile(r"\b(?:l|li|link|tunnel)\s+(?:s|set|change)\s+(?:dev\s+)?(\S+)\s+(.*)")
ADDRESS = re.compile(r"\ba(?:ddr|ddress)?\s+(?:a|add|r|replace)\s+(.*)")
CONFIGURED = re.compile(r"\bifconfig\s+(\S+)\s+([\d.]+)(/\d+)?(?:.*\bnetmask\s+([\d.]+))?")
SPANNING = re.compile(r"\bbrctl\s+stp\s+(\S+)\s+(\S+)")
ROUTE = re.compile(
    r"\b(?:r|ro|rou|route)\s+(?:a|add|r|replace|append)\s+(?:multicast\s+)?(2(?:2[4-9]|3\d)[\d./]+)\s(.*)"
)


def of(command: str) -> list[DeviceSetting]:
    """The settings that a command gives; none that are not known."""
    if effects.program(command) in effects.SILENT:
        return []
    return [one for one in _given(command) if not effects.OPAQUE.search(" ".join(one))]


def _given(command: str) -> Iterator[DeviceSetting]:
    words = command.split()
    if made := effects.made(command):
        kind = next((words[at + 1] for at, word in enumerate(words[:-1]) if word in ("type", "mode")), "")
        yield from ((made, name, value) for name, value in DEFAULTS.get(kind, ()))
        if kind:
            yield made, "kind", kind
        yield from _options(made, words)
    elif changed := CHANGED.search(command):
        yield from _options(changed[1], changed[2].split())
    elif added := ADDRESS.search(command):
        rest = added[1].split()
        device = next((rest[at + 1] for at, word in enumerate(rest[:-1]) if word == "dev"), "")
        address = next((word for word in rest if re.fullmatch(r"\d+(?:\.\d+){3}(?:/\d+)?", word)), "")
        if device and address:
            yield device, "address", address if "/" in address else f"{address}/32"
    elif configured := CONFIGURED.search(command):
        device, address, prefix, mask = configured.groups()
        yield device, "address", f"{address}{prefix or prefix_of(mask)}"
    elif stp := SPANNING.search(command):
        yield stp[1], "stp_state", number(stp[2])
    elif route := ROUTE.search(command):
        rest = route[2].split()
        device = next((rest[at + 1] for at, word in enumerate(rest[:-1]) if word == "dev"), "")
        metric = next((rest[at + 1] for at, word in enumerate(rest[:-1]) if word in ("metric", "preference")), "0")
        if device:
            yield device, "metric", metric


def _options(device: str, words: Sequence[str]) -> Iterator[DeviceSetting]:
    for at, word in enumerate(words[:-1]):
        if name := OPTIONS.get(word):
            yield device, name, ttl(words[at + 1]) if name == "ttl" else words[at + 1]


def prefix_of(mask: str | None) -> str:
    """The prefix of a netmask, with its slash."""
    return f"/{IPv4Network(f'0.0.0.0/{mask}').prefixlen}" if mask else " without a prefix"


def number(text: str) -> str:
    """A value in one form: switches as numbers, keys that are written as addresses, a TTL of 0."""
    lower = text.strip().lower()
    if lower in ("yes", "true", "on"):
        return "1"
    if lower in ("no", "false", "off"):
        return "0"
    return lower


def ttl(text: str) -> str:
    """A TTL as ip-link(8) has it."""
    return "inherit" if text in ("0", "inherit") else text

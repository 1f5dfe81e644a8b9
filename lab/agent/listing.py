"""
The rules in a listing of nftables, as `nft -a list ruleset` writes it: what each does, counts, and where it may jump.

A verdict may stand in a map, of the rule's own or a named one: a rule that drops by it for any key is one that drops.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
COUNTER = re.compile(r"\bcounter packets (\d+) bytes (\d+)")
VERDICT = re.compile(r"\b(accept|drop|reject|return|queue|continue|masquerade|snat|dnat|redirect)\b(?! \w+ [<>=!])")
JUMP = re.compile(r"\b(?:jump|goto) ([\w./-]+)")
HANDLE = re.compile(r"(.*?)\s*# handle (\d+)$")
BASE = re.compile(r"type \S+ hook (\S+)(?: devices? .*?)? priority .*?;(?: policy (\w+);)?")
MAP = re.compile(r"\bvmap (?:@([\w./-]+)|(\{.*?\}))")
BRACES = re.compile(r"\{.*?\}")
OPENING = re.compile(r"(table|chain|set|map) .*\{$")


def rules(text: str) -> Iterator[dict[str, Any]]:
    """Every rule, and the policy of each base chain."""
    lines = list(_whole(text))
    maps = dict(_maps(lines))
    family = table = chain = hook = ""
    position = 0
    for words, handle in lines:
        if words.startswith("table ") and words.endswith("{"):
            _, family, table = words.split()[:3]
        elif words.startswith("chain ") and words.endswith("{"):
            chain, hook, position = words.split()[1], "", 0
        elif words == "}":
            chain = ""
        elif chain and (base := BASE.match(words)):
            hook, policy = base.group(1), base.group(2) or "accept"
            yield _rule((family, table, chain, hook), "", policy.upper(), (), None, 0)
        elif chain and handle is not None:
            position += 1
            verdict, calls = _outcome(words, maps, (family, table))
            yield _rule((family, table, chain, hook), words, verdict, calls, handle, position)


def _whole(text: str) -> Iterator[tuple[str, int | None]]:
    """Each line without its handle; one whose braces are still open goes on in the next, as nft breaks long sets."""
    open_line = ""
    for line in text.splitlines():
        open_line = f"{open_line} {line.strip()}".strip()
        handled = HANDLE.match(open_line)
        words, handle = (handled.group(1), int(handled.group(2))) if handled else (open_line, None)
        bare = QUOTED.sub("", words)
        if bare.count("{") > bare.count("}") and not OPENING.match(bare):
            continue
        open_line = ""
        yield words, handle


def _maps(lines: list[tuple[str, int | None]]) -> Iterator[tuple[tuple[str, str, str], str]]:
    """The elements of every named map, by the map's family, table and name."""
    family = table = name = ""
    for words, _ in lines:
        if words.startswith("table ") and words.endswith("{"):
            _, family, table = words.split()[:3]
        elif words.startswith("map ") and words.endswith("{"):
            name = words.split()[1]
        elif words == "}":
            name = ""
        elif name and words.startswith("elements = "):
            yield (family, table, name), words


def _outcome(
    rule: str, maps: Mapping[tuple[str, str, str], str], place: tuple[str, str]
) -> tuple[str, tuple[str, ...]]:
    """A rule's verdict (the chain that it jumps to, if it does), and all chains that it may jump to."""
    unquoted = QUOTED.sub("", rule)
    mapped = MAP.search(unquoted)
    if mapped is not None:
        elements = maps.get((*place, mapped.group(1)), "") if mapped.group(1) else mapped.group(2)
        calls = tuple(dict.fromkeys(JUMP.findall(elements)))
        drops = re.search(r": drop\b", elements) is not None
        return "DROP" if drops else "", calls
    bare = BRACES.sub("", unquoted)
    if jump := JUMP.search(bare):
        return jump.group(1), (jump.group(1),)
    verdicts = VERDICT.findall(bare)
    return (verdicts[-1].upper() if verdicts else ""), ()


def _rule(
    place: tuple[str, str, str, str], rule: str, verdict: str, calls: tuple[str, ...], handle: int | None, position: int
) -> dict[str, Any]:
    family, table, chain, hook = place
    counted = COUNTER.search(rule)
    found = {"tool": "nft", "family": family, "table": table, "chain": chain, "hook": hook, "verdict": verdict}
    words = {"rule": COUNTER.sub("counter", rule), "calls": list(calls), "handle": handle, "position": position}
    counts = {"packets": int(counted.group(1)), "bytes": int(counted.group(2))} if counted else {}
    return {**found, **words, **counts}

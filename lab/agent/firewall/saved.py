"""
The rules that files load at boot, in the form of `firewalls`, without loading them into this stack.

A file of nft is loaded into a network namespace of its own, which ends with the program; one of iptables is the output
of iptables-save.  Sources: nft(8), iptables-save(8), iptables(8).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from lab.agent.execution import programs
from lab.agent.firewall import firewalls, nftables

TIMEOUT = 20.0
LOADED = 'nft -f "$1" >&2 && nft -a list ruleset && echo "$2" && nft -j list ruleset'
BETWEEN = "overcast: statements"
PREFIX = re.compile(r"^(?:\S*/)?(iptables(?:-nft|-legacy)?)\s+(.*)$", re.DOTALL)
HOOKS = {"INPUT": "input", "FORWARD": "forward", "OUTPUT": "output", "PREROUTING": "prerouting"}


def of_nft(path: str) -> list[dict[str, Any]]:
    """
    The rules of a file of nft with those that it includes; why they could not be read.

    No rules if the kernel has no nf_tables now: then tunnel packets need none of nft, and to look would load a module.
    """
    if not nftables.present():
        return []
    done = programs.run(["unshare", "--net", "sh", "-c", LOADED, "sh", path, BETWEEN], TIMEOUT)
    if done["status"] != 0:
        why = " ".join(done["errors"].split())[:200] or f"nft -f {path} ended with {done['status']}"
        return [{"tool": "nft", "family": "inet", "table": "", "unread": why}]
    text, _, statements = done["output"].partition(f"{BETWEEN}\n")
    return list(firewalls.nft_rules(text, statements))


def of_iptables(text: str) -> list[dict[str, Any]]:
    """The rules of a file of iptables-restore."""
    return list(firewalls.parse_saved(text, "iptables", "ip"))


def changes(commands: Sequence[str]) -> Iterator[dict[str, Any]]:
    """What commands of iptables do to chains: `how` (`-A`, `-I`, `-D`, `-F`, `-P`) and the rule."""
    for command in commands:
        found = PREFIX.match(command.strip())
        try:
            words = shlex.split(found[2]) if found else []
        except ValueError:
            continue
        words = [word for at, word in enumerate(words) if word not in ("-w", "--wait") and not _waits(words, at)]
        table = "filter"
        if "-t" in words[:-1]:
            at = words.index("-t")
            table = words[at + 1]
            del words[at : at + 2]
        how = {"--append": "-A", "--insert": "-I", "--delete": "-D", "--flush": "-F", "--policy": "-P"}
        if len(words) < 1 or (kind := how.get(words[0], words[0])) not in how.values():
            continue
        chain = words[1] if len(words) > 1 else ""
        rest = words[2:]
        if kind == "-I" and rest and rest[0].isdigit():
            rest = rest[1:]
        rule = {"tool": "iptables", "family": "ip", "table": table, "chain": chain, "hook": HOOKS.get(chain, "")}
        given = {"verdict": rest[0]} if kind == "-P" and rest else {"rule": shlex.join(rest)}
        yield {"how": kind, **rule, **given}


def _waits(words: Sequence[str], at: int) -> bool:
    return at > 0 and words[at - 1] in ("-w", "--wait") and words[at].isdigit()

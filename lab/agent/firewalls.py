"""
The rules and chain policies of every firewall that is in use in the stack that the thread is in.

Looking changes nothing: a firewall is read only when this stack has tables of it, so that no
module is loaded, and a stack without any costs no program.  Each rule, and each policy of a built-in chain (`rule`
empty), is one dict:

    tool family table chain hook rule verdict packets bytes handle position

and of nft's rules `calls`, the chains that they may jump to.  `rule` is the text after `-A CHAIN `, or a line of `nft
list ruleset` without the counts; `hook` is the kernel's name of where a base chain hangs (`input`), empty for a chain
that is jumped to; `packets` and `bytes` are None without counters; `handle` is nft's, `position` counts a chain's
rules from 1.  What is in use and cannot be read is `{"tool", "family", "table", "unread": why}`.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from typing import Any

from lab.agent import ebtables, listing, nftables, programs

TIMEOUT = 20.0  # seconds; a rule set of thousands takes tens of milliseconds
NAMES = {"ip": "iptables", "ip6": "ip6tables", "bridge": "ebtables", "arp": "arptables"}
XTABLES = {
    "ip": {"filter", "nat", "mangle", "raw", "security"},
    "ip6": {"filter", "nat", "mangle", "raw", "security"},
    "bridge": {"filter", "nat", "broute"},
    "arp": {"filter"},
}
UNGUARDED = ("ebtables", "arptables")  # they know no option -M, and start nothing
NEEDS_ROOT = "needs root"
SAVED = re.compile(r"(?:\[(\d+):(\d+)\] )?-A (\S+) ?(.*)")
POLICY = re.compile(r":(\S+) (\S+)(?: \[(\d+):(\d+)\])?")
TARGET = re.compile(r"(?:^|\s)(?:-j|-g|--jump|--goto) (\S+)")
QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


def read() -> list[dict[str, Any]]:
    """Every rule, policy and reason for not reading one."""
    return [*_legacy("ip"), *_legacy("ip6"), *_legacy("arp"), *_nft(), *_ebtables()]


def _unread(tool: str, family: str, table: str, why: str) -> dict[str, Any]:
    return {"tool": tool, "family": family, "table": table, "unread": why}


def _find(*names: str, flavour: str) -> str | None:
    """The first program of these names that is of a flavour: `legacy` or `nft` (`iptables-save` can be either)."""
    for name in names:
        found = shutil.which(name, path=programs.SYSTEM_PATH)
        if found is not None and ("nft" in os.path.realpath(found)) == (flavour == "nft"):
            return name
    return None


def _legacy(family: str) -> list[dict[str, Any]]:
    name = NAMES[family]
    tool = f"{name}-legacy"
    try:
        with open(f"/proc/thread-self/net/{family}_tables_names") as file:
            tables = file.read().split()
    except FileNotFoundError:
        return []
    except PermissionError:
        return [_unread(tool, family, "", NEEDS_ROOT)]
    if not tables:
        return []
    saver = _find(f"{tool}-save", f"{name}-save", flavour="legacy")
    if saver is None:
        return [_unread(tool, family, table, f"{tool}-save is not installed") for table in tables]
    rules, why = _saved(saver, tool, family)
    return rules or [_unread(tool, family, table, why) for table in tables]


def _saved(saver: str, tool: str, family: str) -> tuple[list[dict[str, Any]], str]:
    # no module is loaded for a look: -M names what the program would start for that
    guard = [] if tool.startswith(UNGUARDED) else ["-M", "/bin/false"]
    counts = [] if tool == "arptables-legacy" else ["-c"]
    arguments = [saver, *guard, *counts]
    done = programs.run(arguments, TIMEOUT)
    said = done["errors"].strip()
    return _parse_saved(done["output"], tool, family), said or f"{saver} showed nothing"


def _parse_saved(text: str, tool: str, family: str) -> list[dict[str, Any]]:
    """The output of iptables-save, ip6tables-save, ebtables-save or arptables-save, with counters where they are."""
    found: list[dict[str, Any]] = []
    table = ""
    lengths: dict[str, int] = {}
    hooks: set[str] = set()

    def entry(chain: str, rule: str, verdict: str, packets: str | None, octets: str | None) -> dict[str, Any]:
        return {
            "tool": tool,
            "family": family,
            "table": table,
            "chain": chain,
            "hook": chain.lower() if chain in hooks else "",
            "rule": rule,
            "verdict": verdict,
            "packets": None if packets is None else int(packets),
            "bytes": None if octets is None else int(octets),
            "handle": None,
            "position": lengths.get(chain, 0),
        }

    for line in text.splitlines():
        if line.startswith("*"):
            table, lengths, hooks = line[1:].strip(), {}, set()
        elif policy := POLICY.match(line):
            chain, verdict, packets, octets = policy.groups()
            if verdict != "-" and chain in ebtables.CHAINS:
                hooks.add(chain)
                found.append(entry(chain, "", verdict, packets, octets))
        elif saved := SAVED.match(line):
            packets, octets, chain, rule = saved.groups()
            lengths[chain] = lengths.get(chain, 0) + 1
            target = TARGET.search(QUOTED.sub("", rule))
            found.append(entry(chain, rule, target.group(1) if target else "", packets, octets))
    return found


def _nft() -> Iterator[dict[str, Any]]:
    """nftables: the tables that iptables and ebtables made there under their names, the others under nft's."""
    if not nftables.present():
        return
    try:
        left = nftables.tables()
    except PermissionError:
        yield _unread("nft", "", "", NEEDS_ROOT)
        return
    native = []
    for family, name in NAMES.items():
        if not any(of == family and table in XTABLES[family] for of, table in left):
            continue
        saver = _find(f"{name}-nft-save", f"{name}-save", flavour="nft")
        shown = _saved(saver, f"{name}-nft", family)[0] if saver else []
        yield from shown
        native += [table for table in left if table[0] == family and table[1] in {rule["table"] for rule in shown}]
    left = [table for table in left if table not in native]
    if left:
        yield from _listed(left)


def _listed(tables: list[tuple[str, str]]) -> list[dict[str, Any]]:
    done = programs.run(["nft", "-a", "list", "ruleset"], TIMEOUT)
    if done["status"] is None:
        return [_unread("nft", family, table, "nft is not installed") for family, table in tables]
    if done["status"] != 0:
        why = done["errors"].strip() or f"nft ended with {done['status']}"
        return [_unread("nft", family, table, why) for family, table in tables]
    return [rule for rule in listing.rules(done["output"]) if (rule["family"], rule["table"]) in set(tables)]


def _ebtables() -> Iterator[dict[str, Any]]:
    tool = "ebtables-legacy"
    for table in ebtables.loaded():
        try:
            used = ebtables.sizes(table)[0]
            found = [] if used else ebtables.policies(table)
        except PermissionError:
            yield _unread(tool, "bridge", table, NEEDS_ROOT)
            continue
        if used:
            # its own saver reads whichever ebtables is the machine's, which may be the other one
            lister = _find(tool, "ebtables", flavour="legacy")
            if lister is None:
                yield _unread(tool, "bridge", table, f"{tool} is not installed")
                continue
            done = programs.run([lister, "-t", table, "-L", "--Lc"], TIMEOUT)
            found = ebtables.listed(done["output"])
            if not found:
                yield _unread(tool, "bridge", table, done["errors"].strip() or f"{lister} showed nothing")
        for entry in found:
            target = TARGET.search(QUOTED.sub("", entry["rule"]))
            yield {
                "tool": tool,
                "family": "bridge",
                "table": table,
                "hook": entry["chain"].lower() if entry["chain"] in ebtables.CHAINS else "",
                "handle": None,
                "verdict": target.group(1) if target else "",
                **entry,
            }

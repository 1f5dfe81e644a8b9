"""
The rules and chain policies of every firewall that is in use in the stack that the thread is in.

Looking changes nothing: a firewall is read only when this stack has tables of it, so that no
module is loaded, and a stack without any costs no program.  Each rule, and each policy of a built-in chain (`rule`
empty), is one dict:

    tool family table chain hook rule verdict packets bytes handle position

and of nft's rules `expr`, its statements (libnftables-json(5)) with the elements of the sets and maps that it names.
`rule` is the text after `-A CHAIN `, or a line of `nft list ruleset` without the counts; `verdict` is of a policy;
`hook` is the kernel's name of where a base chain hangs (`input`), empty for a chain that is jumped to; `packets` and
`bytes` are missing without counters; `handle` is nft's, `position` counts a chain's rules from 1 and is missing in the
policies of some.  What is in use and cannot be read is `{"tool", "family", "table", "unread": why}`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from typing import Any

from lab.agent.execution import programs
from lab.agent.firewall import ebtables, nftables

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
NFT_TABLE = re.compile(r"table (\S+) (\S+) \{")
NFT_RULE = re.compile(r"(.*?)\s*# handle (\d+)$")
NFT_COUNTS = re.compile(r"\bcounter packets \d+ bytes \d+")
MOST_ELEMENTS = 1000
"""Of a larger set, as lists of strangers are, only the name is kept."""


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
    return list(parse_saved(done["output"], tool, family)), said or f"{saver} showed nothing"


def parse_saved(text: str, tool: str, family: str) -> Iterator[dict[str, Any]]:
    """The output of iptables-save, ip6tables-save, ebtables-save or arptables-save, with counters where they are."""
    table = ""
    lengths: dict[str, int] = {}
    hooks: set[str] = set()

    def entry(chain: str, rule: str, verdict: str, packets: str | None, octets: str | None) -> dict[str, Any]:
        place = {"tool": tool, "family": family, "table": table, "chain": chain}
        found = {**place, "rule": rule, "verdict": verdict, "position": lengths.get(chain, 0)}
        counted = {} if packets is None or octets is None else {"packets": int(packets), "bytes": int(octets)}
        return {**found, "hook": chain.lower() if chain in hooks else "", **counted}

    for line in text.splitlines():
        if line.startswith("*"):
            table, lengths, hooks = line[1:].strip(), {}, set()
        elif policy := POLICY.match(line):
            chain, verdict, packets, octets = policy.groups()
            if verdict != "-" and chain in ebtables.CHAINS:
                hooks.add(chain)
                yield entry(chain, "", verdict, packets, octets)
        elif saved := SAVED.match(line):
            packets, octets, chain, rule = saved.groups()
            lengths[chain] = lengths.get(chain, 0) + 1
            yield entry(chain, rule, "", packets, octets)


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
    """The rules as statements, each with its text: two programs, and a rule that only one of them lists is new."""
    listings = [programs.run(["nft", option, "list", "ruleset"], TIMEOUT) for option in ("-a", "-j")]
    for done in listings:
        if done["status"] != 0:
            why = done["errors"].strip() or f"nft ended with {done['status']}"
            why = "nft is not installed" if done["status"] is None else why
            return [_unread("nft", family, table, why) for family, table in tables]
    text, statements = (done["output"] for done in listings)
    return [rule for rule in nft_rules(text, statements) if (rule["family"], rule["table"]) in set(tables)]


def nft_rules(text: str, statements: str) -> Iterator[dict[str, Any]]:
    """Every rule, and the policy of each base chain, from both listings of `nft list ruleset`: `-a` and `-j`."""
    texts = dict(_texts(text))
    objects = [next(iter(one.items())) for one in json.loads(statements)["nftables"]]
    known = {
        (one["family"], one["table"], f"@{one['name']}"): one.get("elem", [])
        for kind, one in objects
        if kind in ("set", "map") and len(one.get("elem", [])) <= MOST_ELEMENTS
    }
    hooks: dict[tuple[str, ...], str] = {}
    lengths: dict[tuple[str, ...], int] = {}
    for kind, one in objects:
        if kind not in ("chain", "rule"):
            continue
        family, table, name = one["family"], one["table"], one["name" if kind == "chain" else "chain"]
        place = {"tool": "nft", "family": family, "table": table, "chain": name}
        if kind == "chain":
            hooks[family, table, name] = hook = one.get("hook", "")
            if hook:
                policy = one.get("policy", "accept").upper()
                yield {**place, "hook": hook, "rule": "", "verdict": policy, "handle": None, "position": 0}
        elif (family, table, one["handle"]) in texts:
            lengths[family, table, name] = position = lengths.get((family, table, name), 0) + 1
            expr = [_resolved(each, family, table, known) for each in one["expr"]]
            counters = [each["counter"] for each in expr if isinstance(each.get("counter"), dict)]
            rule = {"rule": texts[family, table, one["handle"]], "expr": expr, "handle": one["handle"]}
            yield {**place, "hook": hooks[family, table, name], **rule, "position": position, **dict(*counters[:1])}


def _texts(listing: str) -> Iterator[tuple[tuple[str, str, int], str]]:
    """The text of each rule by its table and handle; nft breaks one with a long set after a comma."""
    family = table = text = ""
    for line in listing.splitlines():
        if opened := NFT_TABLE.match(line):
            family, table = opened.groups()
        text = f"{text} {line.strip()}".strip()
        if handled := NFT_RULE.match(text):
            yield (family, table, int(handled.group(2))), NFT_COUNTS.sub("counter", handled.group(1))
        text = text if not handled and line.endswith(",") else ""


def _resolved(part: Any, family: str, table: str, known: dict[tuple[str, str, str], Any]) -> Any:
    """A part of a statement, with the elements of a set in place of its name."""
    if isinstance(part, dict):
        return {key: _resolved(value, family, table, known) for key, value in part.items()}
    elements = known.get((family, table, part)) if isinstance(part, str) else None
    return part if elements is None else {"set": elements}


def _ebtables() -> Iterator[dict[str, Any]]:
    tool = "ebtables-legacy"
    for table in ebtables.loaded():
        try:
            used = ebtables.sizes(table)[0]
            found = [] if used else list(ebtables.policies(table))
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
            found = list(ebtables.listed(done["output"]))
            if not found:
                yield _unread(tool, "bridge", table, done["errors"].strip() or f"{lister} showed nothing")
        for entry in found:
            hook = entry["chain"].lower() if entry["chain"] in ebtables.CHAINS else ""
            yield {"tool": tool, "family": "bridge", "table": table, "hook": hook, **entry}

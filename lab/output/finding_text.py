"""One finding as the few lines that a terminal shows: code and fact, evidence, the fix, what it caused."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lab.model import place

MOST_LINES = 6
MOST_OF_FACT = 2
INDENT = "    "
FOR_GOOD = "fix for good"
CUT = " ..."
"""Stands for the words that are in the reports alone."""
SYSCTLS = "/etc/sysctl.d/90-overlay.conf"
"""The file by which kernel parameters last on a host: `plan` writes it too."""
MODULES = "/etc/modules-load.d/overlay.conf"
"""The file by which modules are loaded at boot: `plan` writes it too."""
VERB = re.compile(r"[a-z]+s ")
"""What follows a place without a colon: "spoke1 has ...", "hub gretap1 is ..."."""
LOADING = re.compile(r"(?P<sudo>sudo )?modprobe (?P<module>[\w-]+)(?:\s+#.*)?")
SETTING = re.compile(r"(?P<sudo>sudo )?sysctl -w(?P<settings>(?: [\w./-]+=[\w./-]+)+)(?:\s+#.*)?")


def correction(finding: Mapping[str, Any]) -> tuple[str, ...]:
    """What corrects a finding, and where: the same command at one host corrects several; without one, the finding."""
    remedy = str(finding.get("remedy") or "")
    return (str(finding["node"]), remedy) if remedy else place_of(finding)


def cause(finding: Mapping[str, Any]) -> tuple[str, ...]:
    """What is printed once: a code, and what corrects it; without a command, the finding."""
    return (str(finding["code"]), *correction(finding)) if finding.get("remedy") else identity(finding)


def identity(finding: Mapping[str, Any]) -> tuple[str, ...]:
    """What makes two findings the same one, in all labs: code, place, and which of a firewall's rules it is."""
    return (*place_of(finding), str(finding.get("rule") or ""))


def place_of(finding: Mapping[str, Any]) -> tuple[str, ...]:
    """The code of a finding, its host and its interface."""
    return (str(finding["code"]), str(finding["node"]), str(finding["interface"]))


def merged(findings: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """
    The findings as they are shown: what one command corrects at several places of a node is one, and so is what is
    wrong in the same way at several interfaces of a host, or on several hosts that the same command corrects.

    No other command can follow one with a comment behind it.
    """
    findings = [_of_command(group) for group in _of_one_command(findings)]
    by_host = [_of_host(group) for group in _alike(findings, lambda one: f"{one['node']} {one.get('rule')}")]
    return [_of_hosts(group) for group in _alike(by_host, lambda one: f"{one['remedy']} {one.get('lasting', '')}")]


def _of_one_command(findings: Iterable[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Those with one code, node and command; without a command each on its own."""
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for finding in findings:
        groups.setdefault(cause(finding), []).append(finding)
    return list(groups.values())


def _of_command(group: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    if len(group) == 1 or (_fact(group[0]) and len(set(map(_fact, group))) == 1):
        return _of_host(group)
    interfaces = _interfaces(group)
    summary = listed([str(one["summary"]) for one in group])
    return {**_joined(group, ""), "summary": summary, "interface": interfaces, "evidence": group[0].get("evidence")}


def listed(texts: Sequence[str]) -> str:
    """Texts that begin and end with the same words as one, with a list of what differs between these."""
    each = [text.split() for text in dict.fromkeys(texts)]
    most = min(map(len, each))
    begin = next((at for at in range(most) if len({words[at] for words in each}) > 1), most)
    end = next((at for at in range(most - begin) if len({words[-1 - at] for words in each}) > 1), most - begin)
    middle = ", ".join(" ".join(words[begin : len(words) - end]) for words in each)
    return " ".join(filter(None, (*each[0][:begin], middle, *each[0][len(each[0]) - end :])))


def _alike(
    findings: Iterable[Mapping[str, Any]], common: Callable[[Mapping[str, Any]], str]
) -> list[list[Mapping[str, Any]]]:
    """Those with one code, one fact about their places, and the same in common."""
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for finding in findings:
        remedy = str(finding.get("remedy") or "")
        alone = not remedy or "#" in remedy or not _fact(finding)
        key = (*identity(finding), remedy) if alone else (str(finding["code"]), _fact(finding), common(finding))
        groups.setdefault(key, []).append(finding)
    return list(groups.values())


def _where(finding: Mapping[str, Any]) -> str:
    return f"{finding['node']} {finding['interface']}".strip()


def _fact(finding: Mapping[str, Any]) -> str:
    """A summary without the place or host that it begins with, true of several; empty where it begins otherwise."""
    summary, where = str(finding["summary"]), _where(finding)
    for start, instead in ((f"{where}: ", ""), (f"{finding['node']}'s ", "the "), (f"{where} ", "each ")):
        fact = summary.removeprefix(start)
        if fact != summary and (instead != "each " or VERB.match(fact)):
            return instead + fact
    return ""


def _of_host(group: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    first = group[0]
    if len(group) == 1:
        return first
    interfaces = _interfaces(group)
    remedy = " && ".join(dict.fromkeys(str(one["remedy"]) for one in group))
    # files are written for all that a host lacks, by one command
    lasting = next((str(one["lasting"]) for one in group if one.get("lasting")), "")
    joined = {"interface": interfaces, "remedy": remedy, "lasting": lasting}
    return {**_joined(group, f"{first['node']} {interfaces}".strip()), **joined}


def _interfaces(group: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(dict.fromkeys(str(one["interface"]) for one in group))


def _of_hosts(group: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    if len(group) == 1:
        return group[0]
    hosts = "; ".join(place(one["node"], one.get("host", "")) for one in group)
    live = {"host": hosts} if group[0].get("host") else {}
    return {**_joined(group, ", ".join(map(_where, group))), "node": hosts, **live}


def _joined(group: Sequence[Mapping[str, Any]], where: str) -> dict[str, Any]:
    lists = [name for name in ("requirements", "tests") if name in group[0]]
    every = {name: list(dict.fromkeys(each for one in group for each in one[name])) for name in lists}
    first = group[0]
    evidence = f"{_where(first)}: {first.get('evidence') or ''}" if first.get("evidence") else ""
    return {**first, "summary": f"{where}: {_fact(first)}", "evidence": evidence, **every}


def cause_lines(finding: Mapping[str, Any], width: int, caused: str = "") -> list[str]:
    """
    Return at most six lines for a finding (`lab.model.Finding.data`), none wider than `width` except the fix; one more
    keeps the fix of a live host over a reboot.

    The fix is pasted into a shell: it is one line, never broken or shortened.  `caused` is one line about the failures.
    """
    remedy = " ".join(str(finding.get("remedy") or "").splitlines())
    where = place(finding["node"], finding.get("host", ""), remedy)
    corrections = fixes(where, remedy, live=bool(finding.get("host")), lasting=str(finding.get("lasting") or ""))
    last = [f"{INDENT}{line}" for line in corrections]
    last += wrapped(caused, width, 1)
    fact = wrapped(f"{finding['code']}: {finding['summary']}", width, MOST_OF_FACT, first="")
    room = MOST_LINES - len(fact) - len(last) + (len(corrections) > 1)
    evidence = _evidence(str(finding.get("evidence") or ""), width, room)
    return [*fact, *evidence, *last]


def _evidence(text: str, width: int, most: int) -> list[str]:
    """Break evidence into at most `most` lines; what does not fit is omitted by whole clauses, if possible."""
    clauses = text.split("; ")
    for count in range(len(clauses), 0, -1):
        lines = wrapped("; ".join(clauses[:count]) + CUT * (count < len(clauses)), width, most + 1)
        if len(lines) <= most:
            return lines
    return wrapped(text, width, most)


def fix(host: str, command: str, word: str = "fix") -> str:
    """Return the command that corrects a finding, and the host to run it on."""
    if not host:
        return f"{word}: {command}"
    *others, last = host.split("; ")
    where = f"{', '.join(f'on {one}' for one in others)} and on {last}" if others else host
    return f"{word} ({where}): {command}"


def fixes(host: str, remedy: str, *, live: bool = True, lasting: str = "") -> list[str]:
    """Return the lines with what corrects a finding: for now and, on a live host, for good; none without a command."""
    lines = [fix(host, remedy)] if remedy else []
    if live and (lasting := lasting or for_good(remedy)):
        lines.append(fix(host, lasting, FOR_GOOD))
    return lines


def for_good(remedy: str) -> str:
    """
    Return the command by which a fix that sets kernel parameters, or loads a module, lasts over a reboot; else "".

    What is lost of devices, addresses and routes is one finding for all of them, with the files for it.
    """
    if loading := LOADING.fullmatch(remedy):
        return f"echo {loading['module']} {'| sudo tee -a' if loading['sudo'] else '>>'} {MODULES}"
    setting = SETTING.fullmatch(remedy)
    if setting is None:
        return ""
    lines = " ".join(f"'{one.replace('=', ' = ', 1)}'" for one in setting["settings"].split())
    return f"printf '%s\\n' {lines} {'| sudo tee -a' if setting['sudo'] else '>>'} {SYSCTLS}"


def wrapped(text: str, width: int, most: int, *, first: str = INDENT) -> list[str]:
    """Break a text into at most `most` lines, indented; what does not fit is cut off after a whole word."""
    return textwrap.wrap(
        " ".join(text.split()),
        max(width, 2 * len(INDENT)),
        initial_indent=first,
        subsequent_indent=INDENT,
        max_lines=most,
        placeholder=CUT,
        break_on_hyphens=False,
    )

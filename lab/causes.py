"""One finding as the few lines that a terminal shows: code and fact, evidence, the fix, what it caused."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from lab.model import place

MOST_LINES = 5
MOST_OF_FACT = 2
INDENT = "    "
CUT = " ..."
"""Stands for the words that are in the reports alone."""


def correction(finding: Mapping[str, Any]) -> tuple[str, ...]:
    """What corrects a finding, and where: the same command at one host corrects several; without one, the finding."""
    remedy = str(finding.get("remedy") or "")
    return (str(finding["node"]), remedy) if remedy else place_of(finding)


def identity(finding: Mapping[str, Any]) -> tuple[str, ...]:
    """What makes two findings the same one, in all labs: code, place, and which of a firewall's rules it is."""
    return (*place_of(finding), str(finding.get("rule") or ""))


def place_of(finding: Mapping[str, Any]) -> tuple[str, ...]:
    """The code of a finding, its host and its interface."""
    return (str(finding["code"]), str(finding["node"]), str(finding["interface"]))


def cause_lines(finding: Mapping[str, Any], width: int, caused: str = "") -> list[str]:
    """
    Return at most five lines for a finding (`lab.model.Finding.data`), none wider than `width` except the fix.

    The fix is pasted into a shell: it is one line, never broken or shortened.  `caused` is one line about the failures.
    """
    remedy = " ".join(str(finding.get("remedy") or "").splitlines())
    last = [f"{INDENT}{fix(place(finding['node'], finding.get('host', ''), remedy), remedy)}"] if remedy else []
    last += wrapped(caused, width, 1)
    fact = wrapped(f"{finding['code']}: {finding['summary']}", width, MOST_OF_FACT, first="")
    evidence = wrapped(str(finding.get("evidence") or ""), width, MOST_LINES - len(fact) - len(last))
    return [*fact, *evidence, *last]


def fix(host: str, command: str) -> str:
    """Return the command that corrects a finding, and the host to run it on."""
    return f"fix ({host}): {command}" if host else f"fix: {command}"


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

"""
The codes of findings: what each one means, what corrects it, and which packets it can lose, as data.

The texts live in `codes.json`, so that they can be read and reviewed without Python.  The tables of
docs/troubleshooting.md are generated from them (`reports.findings`); `effects` has the meaning of the marks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from lab.model import Finding
from lab.probes.paths import Stage

FILE = Path(__file__).with_name("codes.json")


@dataclass(frozen=True)
class Code:
    """What a code means, and the kind of command that corrects it."""

    means: str
    """Of a parameter or a port: what it does; a finding has it behind its name."""
    fix: str = ""
    found: str = ""
    """The evidence of a finding, with `{node}`, `{device}` and the values that its rule gives it."""
    run: str = ""
    """The command that corrects it, with the same."""
    stages: tuple[Stage, ...] | None = None
    """The only stages of a packet's path at which it can be lost by this; None: any."""
    kinds: tuple[str, ...] | None = None
    """The only kinds of exchanges that this loses; None: any."""
    marks: frozenset[str] = frozenset()
    """What else decides which packets it loses (`effects`)."""


@dataclass(frozen=True)
class Section:
    """Codes that have one table in the document."""

    title: str
    codes: Mapping[str, Code]
    about: str = ""


SECTIONS = msgspec.json.decode(FILE.read_bytes(), type=tuple[Section, ...])
CODES: Mapping[str, Code] = {code: each for section in SECTIONS for code, each in section.codes.items()}


def declared(
    code: str, node: str, interface: str, evidence: str | None = None, fix: str | None = None, **values: object
) -> Finding:
    """A finding in the words of its code: its evidence and its command too, unless they are given."""
    texts, given = CODES[code], {"node": node, "device": interface, **values}
    evidence = texts.found.format(**given) if evidence is None else evidence
    fix = texts.run.format(**given) if fix is None else fix
    means = texts.means.removeprefix("in a lab: ")  # where a code applies is for the tables
    return Finding(code, node, interface, f"{node} {interface}".rstrip() + f": {means}", evidence, fix)


def marked(mark: str) -> frozenset[str]:
    """The codes with a mark."""
    return frozenset(code for code, each in CODES.items() if mark in each.marks)

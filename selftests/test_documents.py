"""
What the documents say and a machine can check: links that lead somewhere, options that exist, findings all described.

    lab/diagnose, lab/overlay/recognition/incomplete.py -- codes --> lab/diagnose/codes.json --> docs/troubleshooting.md
"""

from __future__ import annotations

import ast
import re
import string
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from lab.diagnose.codes import CODES, SECTIONS, Mark
from lab.diagnose.losses import Stage
from lab.diagnose.rules.overlay.tunnels import COMPARED
from lab.output.finding_text import MOST_OF_FACT, wrapped
from reports import findings

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
)
GUIDES = tuple(path for path in DOCUMENTS if path.name not in ("CHANGELOG.md", "requirements.md"))

FINDERS = (
    *sorted((ROOT / "lab/diagnose/rules").rglob("*.py")),
    ROOT / "lab/diagnose/explain.py",
    ROOT / "lab/overlay/recognition/incomplete.py",
    ROOT / "lab/overlay/recognition/complete_shape.py",
)
CODE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+")
BEGINNINGS = tuple(beginning for beginning, _ in COMPARED)
FAMILIES = {
    "{}-blocked": ("gre-blocked", "vxlan-blocked", "geneve-blocked"),
    "{}-mismatch": tuple(f"{beginning}-mismatch" for beginning in BEGINNINGS),
    "{}-not-as-planned": tuple(f"{beginning}-not-as-planned" for beginning in BEGINNINGS),
    "tunnel-{}-mismatch": ("tunnel-checksum-mismatch", "tunnel-sequence-mismatch"),
    "lost-at-{}": tuple(f"lost-at-{stage}" for stage in get_args(Stage)),
    "partly-lost-at-{}": tuple(f"partly-lost-at-{stage}" for stage in get_args(Stage)),
}
"""Codes that are put together where they are found: the pattern, and what it comes to."""
OF_DATA = {code for code, each in CODES.items() if each.settings or each.dropped}
NO_CODES = frozenset({*BEGINNINGS, *get_args(Mark), "flood-list"})
"""Words of those files that look like a code."""


@pytest.mark.parametrize("code", CODES)
def test_the_summary_of_a_finding_is_not_cut_off(code: str) -> None:
    """With the place before it, it fits the lines that a terminal of 80 columns has for it."""
    means = CODES[code].means.removeprefix("in a lab: ")
    text = f"{code}: spoke1 gretap1: {means}"
    assert wrapped(text, 80, MOST_OF_FACT, first="") == wrapped(text, 80, 9, first="")


def codes_in(path: Path) -> set[str]:
    """The codes of a module: what its findings begin with, and whatever in it is spelled like one (tables of them)."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("Finding", "finding", "declared"):
            found |= set(_said(path, node.args[0]))
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "code":
            found |= set(_said(path, node.value))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value):
            found.add(node.value)
    return found - NO_CODES


def every_code() -> set[str]:
    """The codes of all findings: those of modules, and those of settings."""
    return set().union(OF_DATA, *(codes_in(path) for path in FINDERS))


def _said(path: Path, code: ast.expr) -> Iterator[str]:
    if isinstance(code, ast.Constant):
        yield str(code.value)
    elif isinstance(code, ast.IfExp):
        yield from _said(path, code.body)
        yield from _said(path, code.orelse)
    elif isinstance(code, ast.JoinedStr):
        pattern = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in code.values)
        assert pattern in FAMILIES, f"{path.name}: say in FAMILIES which codes {pattern!r} comes to"
        yield from FAMILIES[pattern]


def test_every_finding_is_described() -> None:
    """lab/diagnose/codes.json has the meaning of every code that a rule can find, and of no other."""
    found = every_code()

    assert len(found) > 100
    assert sorted(found - set(CODES)) == [], "lab/diagnose/codes.json has nothing about these findings"
    assert sorted(set(CODES) - found) == [], "lab/diagnose/codes.json has findings that no rule makes"
    assert sum(len(section.codes) for section in SECTIONS) == len(CODES)


def test_rules_give_the_texts_of_findings_what_they_name() -> None:
    """Each call of `declared` gives the values that the code's evidence and command name, and no others."""
    checked = 0
    for path in FINDERS:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "declared":
                given = {one.arg: one.value for one in node.keywords}
                texts = node.args[1 if isinstance(node.func, ast.Attribute) else 2 :][1:]
                own = {name for name, _ in zip(("found", "run"), texts, strict=False)}
                own |= {"run"} if given.pop("fix", None) else set()
                for code in _codes(path, node):
                    named = _named(CODES[code].found if "found" not in own else "")
                    named |= _named(CODES[code].run if "run" not in own else "")
                    assert set(given) == named, f"{path.name}:{node.lineno} {code}"
                    checked += 1
    assert checked > 100


def _codes(path: Path, call: ast.Call) -> list[str]:
    """The codes of a call; where a variable has it, the literals that the function assigns to that."""
    first = call.args[0]
    if not isinstance(first, ast.Name):
        return [] if isinstance(first, ast.Attribute) else [one for one in _said(path, first) if one in CODES]
    assigned = [
        node.value
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == first.id
    ]
    return [one for value in assigned for one in _said(path, value) if one in CODES]


def _named(text: str) -> set[str]:
    names = {name.partition(".")[0] for _, name, _, _ in string.Formatter().parse(text) if name}
    return names - {"node", "device", "plan"}


def test_the_tables_of_findings_are_up_to_date() -> None:
    """docs/troubleshooting.md has the tables that `python -m reports.findings` writes."""
    document = findings.TARGET.read_text(encoding="utf-8")

    assert document == findings.text(document), f"run: {findings.REGENERATE}"


def headings(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    """Every relative link of a document leads to a file that exists, and to a heading that it has."""
    astray = []
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and anchor not in headings(target)):
            astray.append(link)

    assert astray == []


def commands(path: Path) -> list[str]:
    """The lines of a document's code that run pytest or ./overcast."""
    text = path.read_text(encoding="utf-8")
    fenced = re.findall(r"^```.*?$(.*?)^```", text, re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^    .+$", text, re.MULTILINE)
    lines = [line for block in (*fenced, *indented) for line in block.splitlines()]
    inline = re.findall(r"`([^`\n]+)`", text)
    return [line.partition("#")[0] for line in (*lines, *inline) if re.search(r"(\bpytest|\./overcast) +\S", line)]


def test_options_exist() -> None:
    """Every option of a documented command is one that pytest or a command of `./overcast` has."""
    printed = ""
    for words in (
        ["pytest", "--help"],
        *(["lab", name, "--help"] for name in ("doctor", "watch", "designs", "load", "plan", "bundle", "explain")),
    ):
        helped = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, timeout=60)
        printed += helped.stdout
    known = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", printed))

    used = {
        (str(path.relative_to(ROOT)), option)
        for path in GUIDES
        for command in commands(path)
        for option in re.findall(r"(?<=\s)--?[a-z][\w-]*", command.partition(" -- ")[0])
    }
    assert {("README.md", "--inject"), ("README.md", "--hosts")} <= used
    assert sorted((name, option) for name, option in used if option not in known) == []

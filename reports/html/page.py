"""The result as one page: self-contained, readable offline, on a phone, in print, in light and in dark."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from lab.model import place
from lab.output.finding_text import for_good, merged
from lab.requirements import AREAS
from reports.console import terminal
from reports.console.answer import sentence
from reports.html import drawing, ladder
from reports.verdict.conformance import Conformance, RecordedTest, tally
from reports.verdict.deliveries import KINDS, Matrix

TEMPLATES = Path(__file__).with_name("templates")
SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+!|~&])")
"""What Markdown has a meaning for."""

WORDS = {"passed": "holds", "failed": "does not hold", "not-run": "did not run", "not-applicable": "not applicable"}
MOST_DRAWN = 3  # of tests that failed alike, those whose paths are on the page
MOST_DETAILED = 20  # of the failures of one cause, those with pytest's whole report
MARK_WORDS = {
    "delivered": "delivered",
    "wrong": "not as expected",
    "silent": "not delivered, as expected",
    "untested": "not tested",
}


@cache
def templates() -> Environment:
    """Return the templates; text of hosts and tests is escaped in them, for HTML, or by `md` for Markdown."""
    made = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    made.filters["md"] = markdown
    return made


def markdown(text: object) -> Markup:
    """Return a text as one line that Markdown shows as it is."""
    return Markup(SPECIAL.sub(r"\\\1", " ".join(str(text).split())))


def render(result: Mapping[str, Any], conformance: Conformance, tables: Sequence[Matrix]) -> str:
    """Return the page for a result (the content of conformance.json) and what it was made of."""
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    failures = _Failures(conformance, result)
    unexplained, explained = failures.unexplained(), failures.explained()
    return (
        templates()
        .get_template("page.html")
        .render(
            **head(result, conformance),
            causes=[cause(finding) for finding in merged(result["findings"])],
            drawing=drawing.drawing(result["topology"], tables, result["findings"]),
            areas=[(area, AREAS[area], members, tally(members)) for area, members in conformance.areas.items()],
            words=WORDS,
            matrices=[matrix(table, failures.anchors) for table in tables],
            matrix_key=matrix_key(tables),
            unexplained=unexplained,
            explained=explained,
            open_count=sum(one.outcome != "passed" for one in conformance.requirements),
            baseline=result.get("baseline"),
            figures=list(figures(result["figures"])),
            environment=[(key.replace("_", " "), value) for key, value in sorted(result["environment"].items())],
            footer=f"{result['run']['command']}: {result['run']['seconds']:g} s, ended {result['generated']}. "
            f"The same as data: conformance.json, schema {result['schema']}.",
            script=script,
            script_hash=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
        )
    )


def head(result: Mapping[str, Any], conformance: Conformance) -> dict[str, str]:
    """Return what every report begins with: the verdict, in a word and in numbers, and where it was."""
    conclusion = sentence(conformance, result["findings"])
    return {
        "verdict": conformance.verdict,
        "conclusion": f"{conclusion[:1].upper()}{conclusion[1:]}.",
        "place": terminal.place(result["environment"]),
    }


def cause(finding: Mapping[str, Any]) -> dict[str, Any]:
    """Return a finding as templates show it."""
    remedy, node = str(finding.get("remedy") or ""), str(finding.get("node") or "")
    evidence = finding.get("evidence") or ""
    return {
        "summary": finding.get("summary", ""),
        "code": finding.get("code", ""),
        "where": " ".join(part for part in (node, str(finding.get("interface") or "")) if part),
        "evidence": evidence if isinstance(evidence, str) else "\n".join(map(str, evidence)),
        "remedy": remedy,
        "for_good": (finding.get("lasting") or for_good(remedy)) if finding.get("host") else "",
        "place": place(node, str(finding.get("host") or ""), remedy) if node else "",
        "requirements": finding.get("requirements", []),
        "tests": len(finding.get("tests", ())),
    }


def figures(measured: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Return figures as templates show them: `most`, the largest of their unit, where several have it, for a bar."""
    for one in measured:
        alike = [other["value"] for other in measured if other["unit"] == one["unit"]]
        yield {**one, "most": max(alike) if len(alike) > 1 and max(alike) > 0 else None}


def matrix(table: Matrix, anchors: set[str]) -> dict[str, Any]:
    """Return a matrix as templates show it; `anchors`: the pairs whose path can be linked to."""
    return {
        "network": table.network,
        "kinds": KINDS,
        "receivers": [(name, terminal.short(name)) for name in table.nodes],
        "rows": [
            (
                sender,
                [_cell(table, kind, sender, number, anchors) for kind in KINDS for number in range(len(table.nodes))],
            )
            for sender in table.nodes
        ],
    }


def _cell(table: Matrix, kind: str, sender: str, number: int, anchors: set[str]) -> dict[str, str]:
    receiver = table.nodes[number]
    mark = table.mark(kind, sender, receiver)
    first = "first " if number == 0 else ""
    if sender == receiver and mark == "untested":
        return {"style": f"{first}self", "title": "", "link": "", "sign": ""}
    anchor = ladder.pair(sender, receiver)
    return {
        "style": f"{first}{mark}",
        "title": f"{kind} from {sender} to {receiver}: {MARK_WORDS[mark]}",
        "link": anchor if mark == "wrong" and anchor in anchors else "",
        "sign": terminal.MARKS[mark],
    }


def matrix_key(tables: Sequence[Matrix]) -> str:
    """Say what the signs of the matrices mean."""
    used = {mark for table in tables for mark in table.cells.values()}
    return ", ".join(f"{terminal.MARKS[mark]} {words}" for mark, words in MARK_WORDS.items() if mark in used)


class _Failures:
    """The tests that failed or broke: those with the same reason together, apart for each cause that explains them."""

    def __init__(self, conformance: Conformance, result: Mapping[str, Any]) -> None:
        self._captures = {test["id"]: test["capture"] for test in result["tests"]}
        self._failed = [
            trial for trial in conformance.trials if trial.outcome == "failed" or trial.detail or trial.left_behind
        ]
        self._causes: dict[str, str] = {}
        for finding in result["findings"]:
            for test in finding.get("tests", ()):
                self._causes.setdefault(str(test), str(finding.get("code", "")))
        self.anchors: set[str] = set()
        """The pairs of hosts whose path is on the page."""

    def unexplained(self) -> list[dict[str, Any]]:
        """Return those that no finding explains, and those that left something behind."""
        return list(self._cases([trial for trial in self._failed if not self._cause_of(trial)], len(self._failed)))

    def explained(self) -> list[dict[str, Any]]:
        """Return the others by their first cause."""
        groups: dict[str, list[RecordedTest]] = {}
        for trial in self._failed:
            if cause := self._cause_of(trial):
                groups.setdefault(cause, []).append(trial)
        return [
            {"cause": cause, "count": len(trials), "cases": list(self._cases(trials, MOST_DETAILED))}
            for cause, trials in groups.items()
        ]

    def _cause_of(self, trial: RecordedTest) -> str:
        return "" if trial.left_behind else self._causes.get(trial.nodeid, "")

    def _cases(self, trials: Sequence[RecordedTest], detailed: int) -> Iterator[dict[str, Any]]:
        cases: dict[tuple[str, str, str | None], list[RecordedTest]] = {}
        for trial in trials:
            left = f"leftover: {trial.left_behind}" if trial.left_behind else ""
            text = "\n".join(part for part in (trial.reason, left) if part)
            cases.setdefault((trial.outcome, text, trial.remedy), []).append(trial)
        for number, ((outcome, text, remedy), alike) in enumerate(cases.items()):
            yield {
                "outcome": outcome,
                "text": text,
                "remedy": remedy,
                "tests": [self._test(trial, drawn=place < MOST_DRAWN) for place, trial in enumerate(alike)],
                "undrawn": any(trial.paths for trial in alike[MOST_DRAWN:]),
                "detail": alike[0].detail if number < detailed else "",
            }

    def _test(self, trial: RecordedTest, *, drawn: bool) -> dict[str, Any]:
        paths = [self._path(path) for path in trial.paths] if drawn else []
        frames = self._captures.get(trial.nodeid, "")
        return {"id": trial.nodeid, "requirements": trial.requirements, "paths": paths, "frames": frames}

    def _path(self, path: Mapping[str, Any]) -> dict[str, Any]:
        """Return a path; the first failed one between two hosts is what the matrix links to."""
        shown, anchor = ladder.view(path), ladder.pair(path["sender"], path["receiver"])
        first = shown["tone"] == "failed" and anchor not in self.anchors
        if first:
            self.anchors.add(anchor)
        return {**shown, "id": anchor if first else ""}

"""The result as one page: self-contained, readable offline, on a phone, in print, in light and in dark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from lab.requirements import AREAS
from reports import terminal, ways
from reports.answer import sentence
from reports.conformance import Conformance, Judged, Trial, tally
from reports.deliveries import KINDS, Matrix

TEMPLATE = Path(__file__).with_name("page.html.in")

WORDS = {"passed": "holds", "failed": "does not hold", "not-run": "did not run", "not-applicable": "not applicable"}
MOST_DRAWN = 3  # of tests that failed alike, those whose paths are on the page
MARK_WORDS = {
    "delivered": "delivered",
    "wrong": "not as expected",
    "silent": "silent, as expected",
    "untested": "not tested",
}


def render(result: Mapping[str, Any], conformance: Conformance, tables: Sequence[Matrix]) -> str:
    """Return the page for a result (the content of conformance.json) and what it was made of."""
    told = sentence(conformance, result["findings"])
    environment: Mapping[str, str] = result["environment"]
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        verdict=conformance.verdict,
        told=escape(told[:1].upper() + told[1:]) + ".",
        place=escape(terminal.place(environment)),
        areas=_areas(conformance),
        matrices=_matrices(tables),
        findings=_findings(result["findings"]),
        failures=_failures(conformance),
        figures=_figures(result["figures"]),
        filter=_filter(conformance),
        requirements="\n".join(_area_table(area, members) for area, members in conformance.areas.items()),
        environment="\n".join(
            f"<div><dt>{escape(key.replace('_', ' '))}</dt><dd>{escape(value)}</dd></div>"
            for key, value in sorted(environment.items())
        ),
        footer=f"{escape(str(result['generated']))}. The same as data: conformance.json, schema {result['schema']}.",
    )


def _areas(conformance: Conformance) -> str:
    rows = []
    for area, members in conformance.areas.items():
        counts = tally(members)
        squares = "".join(
            f'<a href="#{one.requirement.id}" class="{one.outcome} {one.level.lower()}" '
            f'title="{one.requirement.id} {one.level}: {WORDS[one.outcome]}" '
            f'aria-label="{one.requirement.id}: {WORDS[one.outcome]}"></a>'
            for one in members
        )
        rows.append(
            f'<tr><th scope="row"><a href="#{area}">{escape(AREAS[area])}</a></th>'
            f'<td><div class="squares">{squares}</div></td>'
            f'<td class="count">{counts.passed} of {counts.applicable}</td></tr>'
        )
    key = "Filled: MUST. Outlined: SHOULD. Each square leads to its requirement."
    return f'<table class="areas"><tbody>\n{chr(10).join(rows)}\n</tbody></table>\n<p class="key">{key}</p>'


def _matrices(tables: Sequence[Matrix]) -> str:
    if not tables:
        return ""
    used = {mark for table in tables for mark in table.cells.values()}
    key = ", ".join(f"{terminal.MARKS[mark]} {words}" for mark, words in MARK_WORDS.items() if mark in used)
    return "<h2>Who hears whom</h2>\n" + "\n".join(_matrix(table) for table in tables) + f'\n<p class="key">{key}</p>'


def _matrix(table: Matrix) -> str:
    kinds = "".join(f'<th class="first" colspan="{len(table.nodes)}">{kind}</th>' for kind in KINDS)
    receivers = "".join(
        f'<th{_first(number)} title="{escape(name)}">{escape(terminal.short(name))}</th>'
        for _ in KINDS
        for number, name in enumerate(table.nodes)
    )
    rows = "\n".join(
        f'<tr><th scope="row">{escape(sender)}</th>'
        + "".join(_cell(table, kind, sender, number) for kind in KINDS for number in range(len(table.nodes)))
        + "</tr>"
        for sender in table.nodes
    )
    return (
        f'<div class="scroll"><table class="matrix"><caption>{escape(table.network)}</caption>'
        f'<thead><tr><th></th>{kinds}</tr><tr><th class="corner">from / to</th>{receivers}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody></table></div>"
    )


def _cell(table: Matrix, kind: str, sender: str, number: int) -> str:
    receiver = table.nodes[number]
    mark = table.mark(kind, sender, receiver)
    first = "first " if number == 0 else ""
    title = escape(f"{kind} from {sender} to {receiver}: {MARK_WORDS[mark]}")
    if sender == receiver and mark == "untested":
        return f'<td class="{first}self"></td>'
    return f'<td class="{first}{mark}" title="{title}">{terminal.MARKS[mark]}</td>'


def _first(number: int) -> str:
    return ' class="first"' if number == 0 else ""


def _findings(findings: Sequence[Mapping[str, Any]]) -> str:
    if not findings:
        return ""
    return "<section>\n<h2>Causes</h2>\n" + "\n".join(_finding(finding) for finding in findings) + "\n</section>"


def _finding(finding: Mapping[str, Any]) -> str:
    where = " ".join(str(finding[key]) for key in ("node", "interface") if finding.get(key))
    evidence = finding.get("evidence") or ""
    lines = evidence if isinstance(evidence, str) else "\n".join(f"{line}" for line in evidence)
    return (
        f'<div class="case failed"><p><span class="ids">{escape(str(finding.get("summary", "")))}</span></p>'
        f"<p><code>{escape(str(finding.get('code', '')))}</code> {escape(where)}</p>"
        + (f"<pre>{escape(lines)}</pre>" if lines else "")
        + _fix(finding.get("remedy"), str(finding.get("node", "")))
        + f'<p class="key">caused failures of {_links(finding.get("requirements", []))}</p></div>'
    )


def _figures(figures: Sequence[Mapping[str, Any]]) -> str:
    if not figures:
        return ""
    rows = "\n".join(
        f"<div><dt>{escape(str(figure['name']))}</dt><dd>{figure['value']:g} {escape(str(figure['unit']))}</dd></div>"
        for figure in figures
    )
    note = '<p class="key">Measured on the way; nothing depends on them.</p>'
    return f'<section>\n<h2>Figures</h2>\n<dl class="env figures">\n{rows}\n</dl>\n{note}\n</section>'


def _failures(conformance: Conformance) -> str:
    """Return the tests that failed or broke, those with the same reason together."""
    cases: dict[tuple[str, str, str | None], list[Trial]] = {}
    for trial in conformance.trials:
        if trial.outcome == "failed" or trial.detail or trial.left_behind:
            left = f"leftover: {trial.left_behind}" if trial.left_behind else ""
            told = "\n".join(text for text in (trial.reason, left) if text)
            cases.setdefault((trial.outcome, told, trial.remedy), []).append(trial)
    if not cases:
        return ""
    blocks = [_case(outcome, told, remedy, trials) for (outcome, told, remedy), trials in cases.items()]
    return "<section>\n<h2>Failures</h2>\n" + "\n".join(blocks) + "\n</section>"


def _case(outcome: str, told: str, remedy: str | None, trials: Sequence[Trial]) -> str:
    """Return tests that failed alike; each has its own paths beside it, as far as they are drawn."""
    where = "".join(
        f'<p><span class="ids">{_links(trial.requirements)}</span> <span class="node">{escape(trial.nodeid)}</span></p>'
        + (ways.drawn(trial.paths) if number < MOST_DRAWN else "")
        for number, trial in enumerate(trials)
    )
    if any(trial.paths for trial in trials[MOST_DRAWN:]):
        where += '<p class="key">the paths of the others are in conformance.json</p>'
    detail = trials[0].detail
    which = f" of {trials[0].nodeid}" if len(trials) > 1 else ""
    full = f"<details><summary>the whole report{escape(which)}</summary><pre>{escape(detail)}</pre></details>"
    return (
        f'<div class="case {outcome}"><p class="reason">{escape(told)}</p>{_fix(remedy)}{where}'
        f"{full if detail else ''}</div>"
    )


def _filter(conformance: Conformance) -> str:
    open_ones = [judged for judged in conformance.requirements if judged.outcome != "passed"]
    if not open_ones:
        return ""
    label = f"only the {len(open_ones)} that {'is' if len(open_ones) == 1 else 'are'} open"
    return f'<label class="filter"><input type="checkbox" id="open-only"> {label}</label>'


def _area_table(area: str, members: Sequence[Judged]) -> str:
    counts = tally(members)
    beyond = "" if members[0].counts else ", not counted in the verdict"
    rows = "\n".join(_row(judged) for judged in members)
    return (
        f'<h3 id="{area}">{escape(AREAS[area])} <span>{counts.passed} of {counts.applicable}{beyond}</span></h3>\n'
        f'<div class="scroll"><table><tbody>\n{rows}\n</tbody></table></div>'
    )


def _row(judged: Judged) -> str:
    requirement = judged.requirement
    why = f'<div class="why">{escape(judged.reason)}</div>{_fix(judged.remedy)}' if judged.reason else ""
    return (
        f'<tr id="{requirement.id}" class="{judged.outcome}"><td class="id">{requirement.id}</td>'
        f'<td class="level">{requirement.level}</td><td class="text">'
        f"<details><summary>{escape(requirement.statement)}</summary>{_background(judged)}</details>{why}</td>"
        f'<td class="outcome">{WORDS[judged.outcome]}</td></tr>'
    )


def _background(judged: Judged) -> str:
    """Return what stands behind a requirement: where it comes from, what breaks it, which tests show it."""
    requirement = judged.requirement
    parts = {"source": requirement.source, "broken by": requirement.broken_by, "then": requirement.diagnosis}
    lines = [f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in parts.items() if text]
    tests = "".join(f'<div class="node">{escape(test)}</div>' for test in judged.tests)
    lines.append(f"<dt>tests</dt><dd>{tests or 'none'}</dd>")
    return f"<dl>{''.join(lines)}</dl>"


def _fix(command: object, host: str = "") -> str:
    where = f" ({escape(host)})" if host else ""
    return f'<p class="fix">fix{where}: <code>{escape(str(command))}</code></p>' if command else ""


def _links(ids: Iterable[str]) -> str:
    return ", ".join(f'<a class="id" href="#{escape(one)}">{escape(one)}</a>' for one in ids)

"""
What continuous integration shows of a run: a summary in Markdown, and an annotation for each cause.

    reports/summary.md       also appended to the file that GITHUB_STEP_SUMMARY names, for GitHub's page of the job
    ::error title=CODE::...  lines that GitHub shows as annotations, printed where GITHUB_ACTIONS is "true"

Source: GitHub, "Workflow commands for GitHub Actions".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.output.finding_text import merged
from lab.requirements import AREAS
from reports.console import terminal
from reports.console.answer import unexplained
from reports.html import page
from reports.verdict.conformance import Conformance, RequirementResult, tally
from reports.verdict.deliveries import Matrix

MOST_FAILURES = 20
MOST_SENDERS = 12
"""Hosts up to which a matrix is part of the summary."""
STEP_SUMMARY, ACTIONS = "GITHUB_STEP_SUMMARY", "GITHUB_ACTIONS"


def summary(result: Mapping[str, Any], conformance: Conformance, tables: Sequence[Matrix]) -> str:
    """Return the run in Markdown: verdict, causes with fixes, failures without a cause, matrices, areas."""
    left = unexplained(conformance, result["findings"])
    drawn = [table for table in tables if len(table.nodes) <= MOST_SENDERS]
    made = (
        page.templates()
        .get_template("summary.md")
        .render(
            **page.head(result, conformance),
            causes=[
                {**page.cause(finding), "ids": terminal.compact(finding["requirements"])}
                for finding in merged(result["findings"])
            ],
            unexplained=[{"text": trial.reason, "id": trial.nodeid} for trial in left[:MOST_FAILURES]],
            more=max(0, len(left) - MOST_FAILURES),
            matrices=[page.matrix(table, set()) for table in drawn],
            matrix_key=page.matrix_key(drawn),
            areas=[_area(area, members) for area, members in conformance.areas.items()],
            footer=f"Overcast {result['environment'].get('overcast', '')}, {result['generated']}",
        )
    )
    return re.sub(r"\n{3,}", "\n\n", made) + "\n"


def _area(area: str, members: Sequence[RequirementResult]) -> dict[str, str]:
    counts = {level: tally(one for one in members if one.level == level) for level in ("MUST", "SHOULD")}
    held = {level: f"{one.passed} of {one.applicable}" if one.applicable else "–" for level, one in counts.items()}
    return {"title": AREAS[area], "must": held["MUST"], "should": held["SHOULD"]}


def append_step_summary(environ: Mapping[str, str], text: str) -> None:
    """Add the summary to the page of the running job on GitHub; raises OSError."""
    if path := environ.get(STEP_SUMMARY):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)


def error_lines(environ: Mapping[str, str], findings: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Return a line for each cause by which GitHub shows it above the job's log."""
    if environ.get(ACTIONS) != "true":
        return
    for finding in findings:
        cause = page.cause(finding)
        where = f" ({cause['place']})" if cause["place"] else ""
        fix = f"\nfix{where}: {cause['remedy']}" if cause["remedy"] else ""
        title = _encoded(cause["code"]).replace(":", "%3A").replace(",", "%2C")
        yield f"::error title={title}::{_encoded(cause['summary'] + fix)}"


def _encoded(text: object) -> str:
    """Return a text as the value of a workflow command: one line, which begins no command of its own."""
    return str(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")

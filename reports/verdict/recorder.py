"""Turns pytest's reports, several for each test, into one trial for each test."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from lab.output.finding_text import identity
from lab.requirements import in_order
from reports.files.plain import shown
from reports.verdict.conformance import Outcome, RecordedTest
from reports.verdict.deliveries import Delivery

# A reason is what a person reads in a table: the whole failure is kept beside it.
REASON_LINES = 3

# pytest-xdist reports the test during which a worker died in a phase of this name.
CRASHED = "???"


class RecordedProperty(dict[str, Any]):
    """What a test recorded: as text it is JSON, for programs that read junit.xml."""

    def __str__(self) -> str:
        return json.dumps(_shown(self), default=str)


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, Mapping):
        return {key: _shown(each) for key, each in value.items()}
    return [_shown(each) for each in value] if isinstance(value, (list, tuple)) else value


@dataclass
class Recorder:
    """Collects the reports of a session's conformance tests as they come in."""

    reports: dict[str, list[pytest.TestReport]] = field(default_factory=dict)

    def add(self, report: pytest.TestReport) -> None:
        """Take in the report of one phase of one test."""
        if is_conformance(report.nodeid):
            self.reports.setdefault(report.nodeid, []).append(report)

    def trials(self, collected: Mapping[str, tuple[str, ...]]) -> list[RecordedTest]:
        """Return one trial per test, in the order in which the tests ran."""
        return [_trial(_plain(nodeid, collected), reports, collected) for nodeid, reports in self.reports.items()]

    def deliveries(self) -> list[Delivery]:
        """Return every delivery that a test recorded."""
        return [Delivery(**entry) for *_, entry in self._entries("delivery")]

    def findings(self) -> list[dict[str, Any]]:
        """Return each finding of the diagnosis once, with the tests that it explains and what these assert."""
        merged: dict[tuple[str, ...], dict[str, Any]] = {}
        for nodeid, ids, entry in self._entries("finding"):
            finding = merged.setdefault(identity(entry), {**entry, "requirements": [], "tests": []})
            finding["tests"].append(nodeid)
            finding["requirements"] = in_order([*finding["requirements"], *ids])
        return list(merged.values())

    def figures(self) -> list[dict[str, Any]]:
        """Return every figure that a test measured, with the requirements of its test."""
        return [{**entry, "requirements": list(ids)} for _, ids, entry in self._entries("figure")]

    def flakes(self) -> list[dict[str, Any]]:
        """Return what arrived after its deadline, by test: slow, not lost."""
        return [{"test": nodeid, **entry} for nodeid, _, entry in self._entries("flake")]

    def _entries(self, name: str) -> list[tuple[str, tuple[str, ...], dict[str, Any]]]:
        """Return the entries of one name with their test and its ids; later phases repeat those of earlier ones."""
        found: list[tuple[str, tuple[str, ...], dict[str, Any]]] = []
        for nodeid, reports in self.reports.items():
            entries: list[dict[str, Any]] = []
            for report in reports:
                for key, value in report.user_properties:
                    if key == name and isinstance(value, dict) and value not in entries:
                        entries.append(value)
            if entries:
                ids = _ids(reports)
                found.extend((nodeid, ids, entry) for entry in entries)
        return found


def is_conformance(nodeid: str) -> bool:
    """Tell whether a test belongs to the conformance suite, not to the tests of the suite itself."""
    return nodeid.startswith("tests/")


def _plain(nodeid: str, collected: Mapping[str, tuple[str, ...]]) -> str:
    """Take off what `--dist loadgroup` appends to a node id."""
    bare = nodeid.rpartition("@")[0]
    return bare if nodeid not in collected and bare in collected else nodeid


def _ids(reports: list[pytest.TestReport]) -> tuple[str, ...]:
    properties = [entry for report in reports for entry in report.user_properties]
    return tuple(in_order(str(value) for key, value in properties if key == "requirement"))


def _trial(nodeid: str, reports: list[pytest.TestReport], collected: Mapping[str, tuple[str, ...]]) -> RecordedTest:
    telling = _telling(reports)
    outcome, reason, remedy = _read(nodeid, telling)
    teardown = next((report for report in reports if report.when == "teardown" and report.failed), None)
    return RecordedTest(
        nodeid=nodeid,
        requirements=_ids(reports) or collected.get(nodeid, ()),
        outcome=outcome,
        reason=reason,
        remedy=remedy,
        detail=telling.longreprtext if telling.failed else "",
        seconds=sum(report.duration for report in reports),
        left_behind=_explain(teardown) if teardown else "",
        paths=tuple(value for key, value in telling.user_properties if key == "path" and isinstance(value, dict)),
    )


def _telling(reports: list[pytest.TestReport]) -> pytest.TestReport:
    """Return the report that decides: the crash, else the test's own phase, else the set-up that kept it off."""
    for phase in (CRASHED, "call", "setup"):
        # the last one: where the environment broke while a test ran, there are two of set-up
        for report in reversed(reports):
            if report.when == phase:
                return report
    return reports[0]


def _read(nodeid: str, report: pytest.TestReport) -> tuple[Outcome, str, str | None]:
    declared = _declared(report)
    reason, remedy = _explain(report), declared.get("remedy")
    if report.when == CRASHED:
        return "not-run", "the worker died while it ran", f"pytest -n 0 '{nodeid}'"
    if report.when == "call" and hasattr(report, "wasxfail"):
        return ("passed", "", None) if report.passed else ("failed", f"known to fail: {report.wasxfail}", None)
    if report.skipped:
        return declared.get("outcome", "not-run"), reason, remedy
    if report.failed and report.when == "call":
        return "failed", reason, remedy
    if report.when == "call":
        return "passed", "", None
    return "not-run", reason or "the run ended while it was running", remedy


def _declared(report: pytest.TestReport) -> dict[str, Any]:
    """Return the outcome that the fixtures recorded; empty where they did not."""
    found = (value for key, value in report.user_properties if key == "outcome" and isinstance(value, dict))
    declared: dict[str, Any] = _shown(next(found, {}))
    return declared


def _explain(report: pytest.TestReport) -> str:
    """Return the reason that a report of a skip, an error or a failure gives."""
    longrepr: Any = report.longrepr
    if isinstance(longrepr, tuple):
        text = str(longrepr[2]).removeprefix("Skipped: ")
    elif hasattr(longrepr, "reprcrash") and longrepr.reprcrash is not None:
        text = longrepr.reprcrash.message
    else:
        text = str(longrepr or "")
    explained = report.when == "call" and isinstance(longrepr, str)  # the fixtures' text of a failure, with the causes
    if report.when != "teardown" and not explained:
        text = _declared(report).get("reason", text)
    text = re.sub(r"^(lab\.errors\.\w+: |AssertionError: |Failed: |\w+Error: \[Errno \d+\] )", "", text)
    return "\n".join([line.rstrip() for line in text.splitlines() if line.strip()][:REASON_LINES])

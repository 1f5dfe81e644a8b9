"""The table at the end of a run of the matrix, from the reports of its tests, wherever they ran."""

from __future__ import annotations

import pytest

from lab.faults import catalogue
from selftests.faults.matrix import inner

CELL = "cell of the matrix"
"""The property of a report: fault, column, text."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print which fault was caught, named, located and fixed."""
    rows: dict[str, dict[str, str]] = {}
    every = (report for reports in terminalreporter.stats.values() for report in reports)
    for report in every:
        for name, value in getattr(report, "user_properties", ()):
            if name == CELL:
                fault, column, said = value
                rows.setdefault(fault, {})[column] = said
    if not rows:
        return
    terminalreporter.section("faults: what they turn red, what is found, whether the fixes correct it")
    for fault, cells in sorted(rows.items()):
        tunnel = inner.tunnel_for(catalogue.named(fault))
        found, fixed, caught = (cells.get(column, "") for column in ("found", "fixed", "caught"))
        terminalreporter.line(f"  {fault:<26} {tunnel:<9} {found:<52} {fixed:<18} {caught}")
    for column in ("caught", "found", "fixed"):
        said = [cells[column] for cells in rows.values() if column in cells]
        if not said:
            continue
        good = [one for one in said if not one.startswith("NOT")]
        terminalreporter.line(f"  {column}: {len(good)} of {len(said)}")

"""The table at the end of a run of the matrix, from the reports of its tests, wherever they ran."""

from __future__ import annotations

import pytest

from lab.faults import catalogue
from lab.requirements import in_order, in_scope, scope
from selftests.faults import inner

CELL = "cell of the matrix"
"""The property of a report: fault, column, text."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print which fault was caught, named, located and mended, and what no fault turns red."""
    rows: dict[str, dict[str, str]] = {}
    every = (report for reports in terminalreporter.stats.values() for report in reports)
    for report in every:
        for name, value in getattr(report, "user_properties", ()):
            if name == CELL:
                fault, column, said = value
                rows.setdefault(fault, {})[column] = said
    if not rows:
        return
    terminalreporter.section("faults: what they turn red, what is found, whether the remedy mends")
    for fault, cells in sorted(rows.items()):
        tunnel = inner.tunnel_for(catalogue.named(fault))
        found, mended, caught = (cells.get(column, "") for column in ("found", "mended", "caught"))
        terminalreporter.line(f"  {fault:<26} {tunnel:<9} {found:<52} {mended:<18} {caught}")
    for column in ("caught", "found", "mended"):
        said = [cells[column] for cells in rows.values() if column in cells]
        good = [one for one in said if not one.startswith("NOT")]
        terminalreporter.line(f"  {column}: {len(good)} of {len(said)}")
    asserted = in_scope(scope(lambda option: option == "applications"))
    reds = {red for fault in catalogue.known().values() for red in fault.reds}
    untouched = {one.id for one in asserted if one.level == "MUST"} - reds
    terminalreporter.line(f"  MUST requirements without a fault: {', '.join(in_order(untouched)) or 'none'}")

"""
What of pytest's own account of failures is shown: hundreds of failures of one cause would bury the cause.

A failure that a finding explains is counted with its cause, at the end of the run; failures with one and the same text
are shown once.  With -v, --tb or -r failures are shown as pytest shows them.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

FEW = 3
"""So many explained failures are shown: they bury nothing."""
FOLDED = ("failed", "error")
OF_PYTEST = {"tbstyle": "auto", "reportchars": "fE"}
"""The values of --tb and -r when the user gives none."""


class Folding:
    """Takes failures out of pytest's sections, and puts them back before it counts them."""

    def __init__(self, config: pytest.Config) -> None:
        given = {name for name, value in OF_PYTEST.items() if getattr(config.option, name, value) != value}
        wordy = config.get_verbosity() > 0
        self._sections = not wordy and "tbstyle" not in given
        self._list = not wordy and "reportchars" not in given
        self._whole: dict[str, list[Any]] = {}
        self._shown: dict[str, list[Any]] = {}
        self._hidden = 0
        self.repeated: dict[str, int] = {}
        """How many failures have the same text as the one shown, by the node id of that."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> Generator[None]:
        """Show the failures that were folded as one only, around everything that others print."""
        stats = terminalreporter.stats
        self._whole = {name: stats[name] for name in FOLDED if name in stats}
        self._shown = self._folded() if self._sections or self._list else self._whole
        if self._sections and self._hidden:
            terminalreporter.write_line(f"{self._hidden} failures with a known cause are not shown; -v shows each")
        stats.update(self._shown if self._sections else self._whole)
        try:
            return (yield)
        finally:
            stats.update(self._whole)

    def before_list(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Change over from the sections of failures to the list of them, which has an option of its own."""
        terminalreporter.stats.update(self._shown if self._list else self._whole)

    def _folded(self) -> dict[str, list[Any]]:
        explained = {id(report) for report in self._whole.get("failed", ()) if is_explained(report)}
        hidden = explained if len(explained) > FEW else set()
        self._hidden = len(hidden)
        first: dict[tuple[str, str], str] = {}
        shown: dict[str, list[Any]] = {}
        for name, reports in self._whole.items():
            shown[name] = []
            for report in reports:
                text = (str(report.when), report.longreprtext)
                if id(report) in hidden:
                    continue
                if text in first:
                    self.repeated[first[text]] = self.repeated.get(first[text], 0) + 1
                else:
                    first[text] = report.nodeid
                    shown[name].append(report)
        return shown


def is_explained(report: pytest.TestReport) -> bool:
    """Whether the diagnosis found a cause when this test failed."""
    return any(name == "finding" for name, _ in report.user_properties)

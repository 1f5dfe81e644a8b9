"""
For inner runs with `--requirements`: a requirement is put to the test until it is red, and no longer.

Loaded with `-p selftests.faults.enough`.  A run in which every requirement is red ends at once.
"""

from __future__ import annotations

import pytest


class Enough:
    """Which of the wanted requirements are red already."""

    def __init__(self, wanted: set[str]) -> None:
        self.wanted = wanted
        self.red: set[str] = set()

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Skips a test that could only show again what has been shown."""
        if not _asserted(item.user_properties) & (self.wanted - self.red):
            pytest.skip("its requirements are red already")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Notes what a failed test asserted."""
        if report.failed and report.when == "call":
            self.red |= _asserted(report.user_properties) & self.wanted

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        """Ends the run when there is nothing left to show."""
        if self.red == self.wanted:
            item.session.shouldstop = "every requirement is red"


def pytest_configure(config: pytest.Config) -> None:
    """Take the wanted requirements from the selection."""
    wanted = config.getoption("requirements")
    config.pluginmanager.register(Enough(set(wanted.split(","))))


def _asserted(properties: list[tuple[str, object]]) -> set[str]:
    return {str(value) for name, value in properties if name == "requirement"}

"""What every process does that may run tests, and what a worker of pytest-xdist hands over to the controller."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from reports.allure import labels
from reports.files.full_disk import guard_allure
from reports.files.plain import make_plain
from reports.verdict.environment import CHOICES, lab_environment, lab_topology
from reports.verdict.recorder import is_conformance

KNOWN = "overcast"
"""The key under which a worker returns its results, and under which it gets the folder of the results."""


class Process:
    """What every process does that may run tests."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.collected: dict[str, tuple[str, ...]] = {}
        self.deselected: set[str] = set()
        self.machine: dict[str, str] = {}

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Remember each conformance test, whether it will be selected or not."""
        if is_conformance(item.nodeid):
            ids = [str(argument) for mark in item.iter_markers("requirement") for argument in mark.args]
            self.collected[item.nodeid] = tuple(ids)

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Remember which tests the user left out."""
        self.deselected.update(item.nodeid for item in items if is_conformance(item.nodeid))

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Label the tests for Allure."""
        if labels.active(self.config):
            labels.label(items)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Keep a terminal's colours out of every result; Allure reads the report when it is back from here."""
        report = yield
        make_plain(report)
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Tell Allure which lab was asked for: the same test has a history of its own in each."""
        if labels.active(self.config) and is_conformance(item.nodeid):
            chosen = {name: self.config.getoption(name, default=None) for name in CHOICES}
            # spelled as options: a test may have a parameter of the same name
            labels.set_parameters(
                {f"--{name}": str(value) for name, value in chosen.items() if value}, distinguish=True
            )
            labels.set_case(item)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        """Tell Allure on which machine it runs, which is known once the lab stands."""
        if labels.active(self.config) and is_conformance(item.nodeid):
            self.machine = self.machine or lab_environment(self.config)
            known = {f"lab {name}": value for name, value in self.machine.items() if name in ("machine", "kernel")}
            labels.set_parameters(known, distinguish=False)


def diagnosis(config: pytest.Config) -> list[str]:
    """Return what the plugins of this process keep of their diagnosis."""
    return [line for lines in config.hook.pytest_overcast_diagnosis(config=config) for line in lines]


class Worker(Process):
    """A worker of pytest-xdist: returns its results."""

    unwritten = ""

    def pytest_sessionstart(self) -> None:
        """Keep a full disk from failing tests."""
        guard_allure(self.config, self.note)

    def note(self, error: OSError) -> None:
        """Remember the first write that was refused."""
        self.unwritten = self.unwritten or error.strerror or str(error)

    def pytest_sessionfinish(self) -> None:
        """Put everything where pytest-xdist carries it to the controller."""
        self.config.workeroutput[KNOWN] = {  # type: ignore[attr-defined]
            "collected": {nodeid: list(ids) for nodeid, ids in self.collected.items()},
            "deselected": sorted(self.deselected),
            "environment": lab_environment(self.config) if self.collected else {},
            "topology": lab_topology(self.config) if self.collected else {},
            "unwritten": self.unwritten,
            "diagnosis": diagnosis(self.config),
        }

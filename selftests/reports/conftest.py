"""An inner conformance suite, written and run by a test: what the results plugin does is seen from outside."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ("-p", "fixtures.requirements", "-p", "reports.plugin")

OUTER = (
    *("SUDO_UID", "SUDO_GID", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"),
    *("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITLAB_CI"),
)
"""Variables of the run outside, which would change what the inner one does."""

PASSING = """
import pytest
from lab.requirements import in_scope

IDS = [one.id for one in in_scope() if one.id not in {without!r}]

@pytest.mark.parametrize("identity", [pytest.param(one, marks=pytest.mark.requirement(one)) for one in IDS])
def test_holds(identity):
    pass
"""

IMPORTS = "import os, pytest\nfrom lab.errors import CheckFailed, EnvironmentProblem\n"


@dataclass(frozen=True)
class Run:
    """What an inner run came to."""

    status: int
    lines: Sequence[str]
    reports: Path

    @property
    def last(self) -> str:
        """The last line printed."""
        return [line for line in self.lines if line.strip()][-1]

    @property
    def text(self) -> str:
        """Everything printed."""
        return "\n".join(self.lines)

    @property
    def result(self) -> dict[str, Any]:
        """The content of conformance.json."""
        loaded: dict[str, Any] = json.loads((self.reports / "conformance.json").read_text(encoding="utf-8"))
        return loaded

    def requirement(self, identity: str) -> dict[str, Any]:
        """One requirement of conformance.json."""
        return next(one for one in self.result["requirements"] if one["id"] == identity)

    @property
    def written(self) -> list[str]:
        """The names in the folder of results."""
        return sorted(path.name for path in self.reports.iterdir()) if self.reports.is_dir() else []


class InnerSuite:
    """A conformance suite in which every requirement in scope passes, except those that a test changes."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.path = pytester.path
        self.file("pytest.ini", "[pytest]\ntestpaths = tests\naddopts = --strict-config --strict-markers\n")

    def file(self, name: str, content: str) -> Path:
        """Write a file of the suite."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        return path

    def except_for(self, *ids: str, tests: str = "") -> None:
        """Let all requirements but these pass, and write tests of their own for these."""
        self.file("tests/test_rest.py", PASSING.format(without=ids))
        if tests:
            self.file("tests/test_own.py", IMPORTS + tests)

    def run(self, *arguments: str) -> Run:
        """Run pytest in this process (fast), without Allure, whose plugin manager is one for the whole process."""
        return self._ran(self.pytester.runpytest_inprocess(*PLUGINS, "-p", "no:allure_pytest", *arguments))

    def run_apart(self, *arguments: str) -> Run:
        """Run pytest in a process of its own, with every plugin that is installed."""
        return self._ran(self.pytester.runpytest_subprocess(*PLUGINS, *arguments))

    def command(self) -> list[str]:
        """Return the command line of a run, for tests that need another process around it."""
        return ["-m", "pytest", *PLUGINS, "--basetemp", str(self.path.parent / "inner")]

    def ran(self, status: int, output: str) -> Run:
        """Wrap what a run by other means came to."""
        return Run(status, output.splitlines(), self.path / "reports")

    def _ran(self, result: pytest.RunResult) -> Run:
        return Run(int(result.ret), [*result.outlines, *result.errlines], self.path / "reports")


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> InnerSuite:
    """Return an inner suite, to be written and run."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8")
    for name in OUTER:
        monkeypatch.delenv(name, raising=False)
    return InnerSuite(pytester)

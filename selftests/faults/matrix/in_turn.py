"""
For inner runs: several faults, one after the other in one session, and then labs without any.

    pytest -p selftests.faults.matrix.in_turn --faults=FAULT,FAULT   -->  FILE: what each requirement came to, by fault
                                                                   HEALTHY: the tests that failed, on healthy labs

Of the tests of a fault's `reds` those run that can still turn one of them red, and all tests of its `greens`.  What
fails is not explained: that is `test_diagnosis`'s matter, and takes several labs and trials for each fault.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.diagnose import reachability
from lab.diagnose.explain import Diagnosis
from lab.errors import OvercastError
from lab.faults import catalogue
from lab.model import Finding
from lab.probes.host_state import neighbour_tables
from reports.verdict.conformance import Selection, judge
from reports.verdict.recorder import Recorder

FILE = "in_turn.json"
HEALTHY = "healthy"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare which faults are injected."""
    parser.addoption("--faults", default="")


def pytest_configure(config: pytest.Config) -> None:
    """Take the place of the loop over the tests."""
    config.pluginmanager.register(InTurn(config))


class InTurn:
    """The loop over the tests, for each fault."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.recorder = Recorder()
        self.failed: set[str] = set()
        """The requirements that a test has failed for, of the fault that is injected."""
        self.failing: dict[str, pytest.Item] = {}
        """Of each requirement the first test that failed."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run what is needed of each fault; write what came of it."""
        outcomes = {name: self._under(session, name) for name in self.config.getoption("faults").split(",")}
        outcomes[HEALTHY] = self._healthy(session)
        reports = Path(self.config.getoption("reports"))
        reports.mkdir(parents=True, exist_ok=True)
        (reports / FILE).write_text(json.dumps(outcomes, indent=1), encoding="utf-8")
        return True

    def _under(self, session: pytest.Session, name: str) -> dict[str, str]:
        fault = catalogue.named(name)
        reds, wanted = set(fault.reds), {*fault.reds, *fault.greens}
        self._begin((name,))
        ran = {}
        for item in [item for item in session.items if _asserted(item) & wanted]:
            asserted = _asserted(item) & wanted
            if asserted <= reds and asserted <= self.failed:
                continue  # it could only show again what has been shown
            self._run(session, item)
            ran[item.nodeid] = tuple(_asserted(item))
        return self._ended(session, ran)

    def _healthy(self, session: pytest.Session) -> dict[str, str]:
        self._begin(())
        failing = list(dict.fromkeys(self.failing.values()))
        for item in failing:
            self._run(session, item)
        return self._ended(session, {item.nodeid: tuple(_asserted(item)) for item in failing})

    def _begin(self, faults: Sequence[str]) -> None:
        """Clear the session's labs and causes; from now on labs are built with these faults."""
        from fixtures import options  # not before pytest has them imported as plugins
        from fixtures.built_labs import labs
        from fixtures.failures import causes

        self.config.stash[options.CHOICES] = replace(options.choices(self.config), faults=tuple(faults))
        labs.pytest_configure(self.config)
        self.config.stash[causes.CAUSES] = unknown = _unknown(self.config)
        self.config.stash[labs.BEFORE_TESTS] = unknown.look
        self.recorder, self.failed = Recorder(), set()

    def _run(self, session: pytest.Session, item: pytest.Item) -> None:
        properties = list(item.user_properties)
        session._setupstate.teardown_exact(item)  # of another test; what the session shares is kept
        other = next(each for each in [*session.items, None] if each is not item)
        item.ihook.pytest_runtest_protocol(item=item, nextitem=other)
        item.user_properties[:] = properties
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what a test came to."""
        self.recorder.add(report)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note which test failed, and what it asserts."""
        report = yield
        if report.failed and report.when == "call":
            self.failed |= _asserted(item)
            for identity in _asserted(item):
                self.failing.setdefault(identity, item)
        return report

    def _ended(self, session: pytest.Session, ran: dict[str, tuple[str, ...]]) -> dict[str, str]:
        session._setupstate.teardown_exact(None)
        session.shouldfail = False  # by a machine that a fault was too much for
        judged = judge(self.recorder.trials(ran), Selection(collected=ran)).requirements
        return {one.requirement.id: one.outcome for one in judged if one.tests}


def _unknown(config: pytest.Config) -> Any:
    """Causes of which none is looked for; what is lost is noted, so that it is waited for shortly."""
    from fixtures.failures import causes  # not before pytest has it imported as a plugin

    class Unknown(causes.Causes):
        def look(self) -> None:
            with contextlib.suppress(OvercastError, OSError), self._untouched() as lab:
                neighbour_tables.note(host.node for host in lab.hosts.values())
                self._learn(Diagnosis(lost=reachability.tried(lab).lost))

        def explain(self, item: pytest.Item, paths: Sequence[Any]) -> list[Finding]:
            return []

    return Unknown(config)


def _asserted(item: pytest.Item) -> set[str]:
    return {str(value) for name, value in item.user_properties if name == "requirement"}

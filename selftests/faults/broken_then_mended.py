"""
For inner runs with `--inject` and `--requirements`: broken until it shows, then mended as the findings say.

Loaded with `-p selftests.faults.broken_then_mended`.  First every requirement that must turn red (`--reds`) is put to
the test until it is, and the others that were asked for must hold.  Then every lab is broken in the same way, and each
remedy that was printed of a lab of its kind is run on its node: the same tests must pass.  A kind of lab in which
nothing failed is explained for it.  What came of it is written to `mended.json` beside conformance.json.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from lab.diagnose import scene
from lab.diagnose.explain import explain
from lab.laboratory import Lab
from lab.model import Finding

FILE = "mended.json"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare which of the requirements are to turn red, and whether a command can mend it."""
    parser.addoption("--reds", default="")
    parser.addoption("--mend", action="store_true", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Take the place of the loop over the tests."""
    config.pluginmanager.register(BrokenThenMended(config))


class BrokenThenMended:
    """The loop over the tests, twice."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.reds = set(config.getoption("reds").split(","))
        self.red: set[str] = set()
        self.findings: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.remedies: dict[str, list[tuple[str, str]]] = {}
        self.refused: dict[str, str] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Runs what is needed, mends, and runs it again."""
        if session.config.option.collectonly or not session.items:
            return None
        ran = self._broken(session)
        outcomes = self._mended(session, ran) if self.config.getoption("mend") else {}
        written = {"findings": list(self.findings.values()), "outcomes": outcomes, "refused": self.refused}
        reports = Path(self.config.getoption("reports"))
        reports.mkdir(parents=True, exist_ok=True)
        (reports / FILE).write_text(json.dumps(written, indent=1), encoding="utf-8")
        return True

    def _broken(self, session: pytest.Session) -> list[pytest.Item]:
        """Runs the tests that can still show something, and returns them."""
        ran: list[pytest.Item] = []
        for number, item in enumerate(session.items):
            asserted = _asserted(item)
            if asserted <= self.reds and not asserted & (self.reds - self.red):
                continue  # it could only show again what has been shown
            session._setupstate.teardown_exact(item)  # of a test that was left out the set-up may stand
            # with a test that follows, what the session shares is kept
            following = session.items[(number + 1) % len(session.items)]
            item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
            ran.append(item)
        return ran

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Notes what a failed test asserted, and what was found wrong."""
        if report.failed and report.when == "call":
            self.red |= {str(value) for name, value in report.user_properties if name == "requirement"} & self.reds
        for name, value in report.user_properties:
            if name == "finding" and isinstance(value, dict):
                self.findings.setdefault((value["code"], value["node"], value["interface"]), value)

    def _mended(self, session: pytest.Session, items: Sequence[pytest.Item]) -> dict[str, str]:
        """Runs tests on labs that are broken and then mended; by requirement, how its tests failed (or nothing)."""
        from fixtures import labs  # not before pytest has it imported as a plugin

        build = labs._built

        def build_and_mend(*arguments: Any, **more: Any) -> Lab:
            lab = build(*arguments, **more)
            if more.get("overlay", True):
                self._mend(lab)
            return lab

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(labs, "_built", build_and_mend)
            return self._again(session, items)

    def _again(self, session: pytest.Session, items: Sequence[pytest.Item]) -> dict[str, str]:
        from fixtures import labs

        for shared in self.config.stash[labs.SHARED].values():
            shared.discard()
        self.config.stash[labs.LOST].clear()  # what was lost is waited for again
        session._setupstate.teardown_exact(items[0])
        outcomes: dict[str, str] = {}
        for number, item in enumerate(items):
            following = items[number + 1] if number + 1 < len(items) else None
            failed = ""
            for report in runtestprotocol(item, nextitem=following, log=False):
                failed = failed or (f"{item.nodeid}: {report.longreprtext}" if report.failed else "")
            for identity in _asserted(item):
                outcomes[identity] = outcomes.get(identity) or failed
        return outcomes

    def _mend(self, lab: Lab) -> None:
        """Runs every remedy that the diagnosis of such a lab prints, on its node."""
        kind = _kind(lab)
        if kind not in self.remedies:
            found = self._printed(lab) or explain(scene.gather(lab, planned=True))
            # a lab that inherits TTLs over routers does so on purpose, whatever the diagnosis rightly says of it
            meant = "tunnel-ttl-inherit" if lab.topology.options.ttl is None else ""
            self.remedies[kind] = [
                (finding.node, finding.remedy)
                for finding in found
                if finding.remedy and finding.code != meant and finding.node in lab.nodes
            ]
        for node, remedy in self.remedies[kind]:
            done = lab.nodes[node].run("sh", "-c", remedy)
            if done["status"] != 0:
                self.refused[f"{node}: {remedy}"] = str(done["errors"]).strip()
        lab.ask_anew()

    def _printed(self, lab: Lab) -> tuple[Finding, ...]:
        """What was found when tests failed in labs of a kind."""
        from fixtures.causes import CAUSES

        return self.config.stash[CAUSES].of_kind(lab.topology, lab.underlay)


def _kind(lab: Lab) -> str:
    return repr((lab.topology, lab.underlay))


def _asserted(item: pytest.Item) -> set[str]:
    return {str(value) for name, value in item.user_properties if name == "requirement"}

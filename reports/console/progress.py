"""
What is printed while tests run: a line for each area when its last test has ended, each cause as soon as it is known.

    tests/broadcast      62 of 80 failed: port-not-bridged               [ 14%]
    tests/hub            42 passed                                       [ 20%]

An area is a folder of tests, which is also what pytest takes to run them again.  On a terminal, the area whose tests
run has a line that is rewritten; elsewhere nothing is.  With -v each test has its line, as pytest prints it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from lab.output.finding_text import cause, cause_lines, merged, wrapped
from reports.console.terminal import shortened
from reports.files.plain import plain

MOST_HINTS = 3
"""So many failures without a known cause are printed at once; all are at the end of the run."""
HINT_LINES = 2
ERROR_CLASS = re.compile(r"^lab\.errors\.\w+: ")


@dataclass
class Area:
    """How far the tests of a folder are."""

    total: int = 0
    ended: int = 0
    skipped: int = 0
    failed: set[str] = field(default_factory=set)
    codes: Counter[str] = field(default_factory=Counter)
    """How many tests failed for each cause."""
    unexplained: int = 0
    lacking: set[str] = field(default_factory=set)
    """The tests that broke for want of something, a host that is lost for example: no failures."""
    printed: bool = False

    @property
    def text(self) -> str:
        """The text of the area's line after its name."""
        done = f"{self.ended} of {self.total}" if self.ended < self.total else ""
        lacking = f"{len(self.lacking)} did not run" if self.lacking else ""
        if not self.failed:
            passed = self.ended - self.skipped - len(self.lacking)
            ended = done or ", ".join(
                [f"{passed} passed"] * (passed > 0) + [f"{self.skipped} skipped"] * (self.skipped > 0)
            )
            return ", ".join(part for part in (ended, lacking) if part)
        causes = [code for code, _ in self.codes.most_common()]
        if self.unexplained:
            causes.append(f"{self.unexplained} unexplained" if causes else "no known cause")
        counted = f"{done} ended, {len(self.failed)}" if done else f"{len(self.failed)} of {self.total}"
        return f"{counted} failed: {', '.join(causes)}" + (f"; {lacking}" if lacking else "")


class ProgressReporter:
    """Prints areas in place of a letter for each test, and the causes."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._reporter: Any = None
        self._areas: dict[str, Area] = {}
        self._printed: set[tuple[str, ...]] = set()
        self._hints: set[str] = set()
        self._by_area = False
        self._running = False
        self._live = ""
        """The line that will be rewritten; empty where the cursor is at the beginning of one."""

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self) -> None:
        """Find what prints; keep it from naming each file where areas are printed."""
        self._reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        self._by_area = bool(self._reporter) and self._config.get_verbosity() <= 0
        if self._by_area:
            self._reporter.showfspath = False

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count the tests of each area."""
        self._count(item.nodeid for item in getattr(session, "items", ()))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Count them as the first worker has collected them: all workers have the same."""
        if not self._areas:
            self._count(ids)

    def _count(self, nodeids: Iterable[str]) -> None:
        for nodeid in nodeids:
            self._areas.setdefault(area_of(nodeid), Area()).total += 1

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Print the lines of areas that are incomplete when the tests end."""
        self._running = self._by_area
        if self._running and self._config.get_verbosity() == 0:
            self._reporter.write_line("")
        try:
            return (yield)
        finally:
            self._running = False
            self._erase()
            for name, area in self._areas.items():
                if area.ended and not area.printed and self._by_area:
                    self._print_area(name, area)

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(self) -> Generator[None, Any, Any]:
        """Keep pytest from printing a letter for a test; it counts the test all the same."""
        status = yield
        return (status[0], "", "") if self._running and status else status

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in a test's outcome, which a worker may have sent; print what is new about causes."""
        if not self._reporter:
            return
        area = self._areas.setdefault(area_of(report.nodeid), Area())
        area.skipped += report.skipped
        if report.failed:
            findings = [one for name, one in report.user_properties if name == "finding" and isinstance(one, dict)]
            # what breaks in a test for want of something is reported as an error of its set-up
            if lacks := report.when == "setup" and not findings:
                area.lacking.add(report.nodeid)
            elif report.nodeid not in area.failed:
                area.failed.add(report.nodeid)
                area.codes.update({str(one["code"]) for one in findings})
                area.unexplained += not findings
            new = {cause(finding): finding for finding in findings if cause(finding) not in self._printed}
            self._printed.update(new)
            for finding in merged([one for one in findings if cause(one) in new]):
                self._print(cause_lines(finding, self._width))
            if not findings:
                self._hint("did not run" if lacks else "no known cause", report)

    def _hint(self, what: str, report: pytest.TestReport) -> None:
        crash = getattr(report.longrepr, "reprcrash", None)
        message = plain(crash.message if crash else str(report.longrepr or "")).strip()
        first = ERROR_CLASS.sub("", message.partition("\n")[0])
        if len(self._hints) < MOST_HINTS and first not in self._hints:
            self._hints.add(first)
            self._print(wrapped(f"{what}: {first} ({report.nodeid})", self._width, HINT_LINES, first=""))

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Print the line of an area whose last test has ended; on a terminal, how far it is."""
        name = area_of(nodeid)
        area = self._areas.setdefault(name, Area())
        area.ended += 1
        if not self._running:
            return
        if area.ended == area.total:
            self._print_area(name, area)
        elif self._reporter.isatty and self._config.option.capture != "no":
            line = self._line(name, area)
            if line != self._live:
                self._reporter.rewrite(line, erase=True)
                self._reporter.currentfspath = -2  # pytest begins a line of its own before it prints anything else
                self._reporter.flush()
                self._live = line

    def _print_area(self, name: str, area: Area) -> None:
        area.printed = True
        good = not area.lacking and area.ended > area.skipped
        tone = {"red": True} if area.failed else {"green": True} if good else {"yellow": True}
        self._print([self._line(name, area)], **tone)

    def _line(self, name: str, area: Area) -> str:
        ended, total = (sum(getattr(one, which) for one in self._areas.values()) for which in ("ended", "total"))
        share = f" [{100 * ended // max(total, 1):3}%]"
        label = f"{name:<{max(map(len, self._areas))}}  "
        room = max(self._width - 1 - len(label) - len(share), 0)
        return f"{label}{shortened(area.text, room):<{room}}{share}"

    @property
    def _width(self) -> int:
        return int(self._config.get_terminal_writer().fullwidth)

    def _print(self, lines: Iterable[str], **tone: bool) -> None:
        self._erase()
        for line in lines:
            self._reporter.write_line(line, **tone)
        self._reporter.flush()

    def _erase(self) -> None:
        if self._live:
            if self._reporter.currentfspath == -2:  # nothing was printed after it
                self._reporter.rewrite("", erase=True)
                self._reporter.rewrite("")
                self._reporter.currentfspath = None
            self._live = ""


def area_of(nodeid: str) -> str:
    """Return the folder of a test, `tests/broadcast`; the file of one that is in no area's folder."""
    path = nodeid.partition("::")[0]
    return "/".join(path.split("/")[:2])

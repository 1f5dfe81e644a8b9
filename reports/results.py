"""The process that sees the whole run: judges it, writes its results, and prints the verdict."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Generator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from lab.interrupts import INTERRUPTS
from lab.output.secrets import cleaned
from reports.allure import labels
from reports.console import ci, terminal
from reports.console.answer import answer
from reports.console.folding import Folding
from reports.files.destination import ALLURE_FOLDER, Destination, written
from reports.files.full_disk import guard_allure, guard_junit
from reports.files.ownership import hand_over, invoking_user, refusal, write_whole
from reports.html import captures, page
from reports.processes import KNOWN, Process, diagnosis
from reports.verdict import compare
from reports.verdict.conformance import INTERRUPTED, Conformance, exit_status, interrupted_status, judge
from reports.verdict.deliveries import Matrix, matrices
from reports.verdict.document import document
from reports.verdict.environment import command, lab_environment, lab_topology, merged, own_environment
from reports.verdict.recorder import RecordedProperty, Recorder, is_conformance
from reports.verdict.selection import selection

# Statuses with which pytest ends when there was no run to speak of: an internal error, a usage error.
NO_RUN = (3, 4)

NO_SCREEN = 80  # columns, where nothing is printed (-p no:terminal)

MARKUP: dict[terminal.Tone, dict[str, bool]] = {
    "plain": {},
    "strong": {"bold": True},
    "good": {"green": True, "bold": True},
    "bad": {"red": True},
    "unsure": {"yellow": True},
    "faint": {"light": True},
}


class Results(Process):
    """Judges the run and writes its results, where the whole run is seen."""

    def __init__(
        self,
        config: pytest.Config,
        destination: Destination,
        folding: Folding,
        *,
        partial_paths: bool,
        baseline: compare.Baseline | None,
    ) -> None:
        super().__init__(config)
        self.destination = destination
        self.folding = folding
        self.partial_paths = partial_paths
        self.baseline = baseline
        self.recorder = Recorder()
        self.broken: dict[str, str] = {}
        self.of_workers: list[dict[str, str]] = []
        self.diagnosis: list[str] = []
        self.environment: dict[str, str] = {}
        self.topology: dict[str, Any] = {}
        self.conformance: Conformance | None = None
        self.tables: list[Matrix] = []
        self.result: dict[str, Any] = {}
        self.session: pytest.Session | None = None
        self.started = datetime.now(timezone.utc)
        self.by_keyboard = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Keep a full disk from ending the run in a traceback."""
        self.session = session
        guard_junit(self.config, self.destination)
        guard_allure(self.config, self.destination.note_allure)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Remember files of tests that cannot be collected: what they would have shown is unknown."""
        if report.failed and is_conformance(report.nodeid):
            lines = report.longreprtext.strip().splitlines() or ["no reason given"]
            self.broken[report.nodeid] = f"{report.nodeid}: {lines[-1].removeprefix('E').strip()}"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in what a test did, here or in a worker; junit.xml is written after this, of what it has then."""
        report.user_properties = [
            (name, RecordedProperty(value) if isinstance(value, dict) else value)
            for name, value in report.user_properties
        ]
        if not report.skipped:
            self._begin()
        self.recorder.add(report)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker where Allure results go."""
        allure = getattr(self.config.option, "allure_report_dir", None)
        node.workerinput[KNOWN] = {"allure": allure, "captures": str(self.config.stash.get(captures.PLACE, ""))}

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take in what a worker knew when it ended; one that crashed has left nothing."""
        known = getattr(node, "workeroutput", {}).get(KNOWN, {})
        self.collected.update({nodeid: tuple(ids) for nodeid, ids in known.get("collected", {}).items()})
        self.deselected.update(known.get("deselected", ()))
        self.of_workers.append(known.get("environment", {}))
        self.topology = self.topology or known.get("topology", {})
        self.diagnosis += known.get("diagnosis", ())
        if known.get("unwritten"):
            self.destination.note_allure(OSError(None, known["unwritten"]))

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Tell Ctrl-C from what pytest raises to stop by itself, which derives from it."""
        self.by_keyboard = self.by_keyboard or type(excinfo.value) is KeyboardInterrupt

    @property
    def interrupted(self) -> bool:
        """Whether a signal, or Ctrl-C, has ended this run."""
        return self.by_keyboard or bool(INTERRUPTS.noted)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        """Judge and write before the others end, so that they see the status; say the last word after them."""
        if self.interrupted or ((self.collected or self.broken) and session.exitstatus not in NO_RUN):
            session.exitstatus = self._conclude(int(session.exitstatus), session.shouldfail or session.shouldstop)
        yield
        if not self.destination.begun:
            self.destination.leave_earlier()
        hand_over(written(self.config, self.destination), invoking_user(os.environ, os.geteuid()))
        if self.conformance is not None and self.interrupted and not self.conformance.interrupted:
            session.exitstatus = self._conclude(int(session.exitstatus), session.shouldstop)  # while it was written
        session.exitstatus = self._last_word(int(session.exitstatus))

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Judge a run that was interrupted before its session began: an earlier run's results are not its own."""
        if self.interrupted and self.conformance is None:
            self._last_word(self._conclude(int(pytest.ExitCode.INTERRUPTED), ""))

    def _begin(self) -> None:
        """Replace the results of an earlier run, once this one has some."""
        if self.destination.takes_files and not self.destination.begun:
            self.destination.begin()

    def _conclude(self, of_pytest: int, stopped: bool | str) -> int:
        """Judge the run and write the results; return the exit status."""
        self._begin()
        if self.interrupted:
            of_pytest = interrupted_status(of_pytest)
        if self.interrupted or (not stopped and of_pytest == pytest.ExitCode.INTERRUPTED):
            stopped = INTERRUPTED
        of_lab = self.of_workers or [lab_environment(self.config)]
        self.environment = {**own_environment(self.config), **merged(of_lab)}
        self.topology = self.topology or lab_topology(self.config)
        failures = self.session.testsfailed if self.session else 0
        self.conformance = judge(
            self.recorder.trials(self.collected),
            replace(
                selection(self.config, partial_paths=self.partial_paths, failures=failures),
                collected=self.collected,
                deselected=frozenset(self.deselected),
                stopped=str(stopped or ""),
                interrupted=self.interrupted,
                broken=tuple(self.broken.values()),
            ),
        )
        self.tables = matrices(self.recorder.deliveries())
        return self._write(of_pytest, self.conformance)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the matrix and the areas, between the sections of failures and the list of them."""
        self.folding.before_list(terminalreporter)
        for nodeid, count in self.folding.repeated.items():
            terminalreporter.write_line(f"{count} more with the same text as {nodeid}")
        summary = self.config.get_verbosity() >= 0 and not self.config.option.no_summary
        if self.conformance is not None and summary:
            terminalreporter.write_sep("-", "conformance")
            self._print(
                terminal.summary(self.conformance, self.tables, self._width(), self.environment.get("hosts", ""))
            )

    def _width(self) -> int:
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        return self.config.get_terminal_writer().fullwidth if reporter else NO_SCREEN

    def _write(self, of_pytest: int, conformance: Conformance) -> int:
        """Write the two files of ours; return the exit status, which both of them report."""
        status = exit_status(conformance, of_pytest, written=self.destination.error is None)
        result = document(
            conformance,
            environment=self.environment,
            topology=self.topology,
            run={
                "command": command(self.config.invocation_params.args),
                "started": self.started.isoformat(timespec="seconds"),
                "seconds": round((datetime.now(timezone.utc) - self.started).total_seconds(), 1),
            },
            findings=self.recorder.findings(),
            flakes=self.recorder.flakes(),
            tables=self.tables,
            figures=self.recorder.figures(),
            captures=self.destination.kept(),
            generated=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            exit_status=status,
        )
        self.result = json.loads(cleaned(json.dumps(result)))
        if self.baseline:
            self.result["baseline"] = compare.since(self.baseline.result, self.result, self.baseline.name)
        if self.destination.takes_files:
            self._write_conformance()
            self.destination.write(self.destination.page, page.render(self.result, conformance, self.tables))
            summary = ci.summary(self.result, conformance, self.tables)
            self.destination.write(self.destination.summary, summary)
            with self.destination.noting_errors():
                ci.append_step_summary(os.environ, summary)
            if any(trial.outcome == "failed" for trial in conformance.trials):
                self._write_diagnosis()
            results = getattr(self.config.option, "allure_report_dir", None)
            if results and self.destination.error is None:
                try:
                    for name, text in labels.of_run(self.environment, self.result["findings"], os.environ):
                        write_whole(Path(results) / name, text)
                except OSError as error:
                    self.destination.note_allure(error)
        return status

    def _write_diagnosis(self) -> None:
        """Write what a failure was diagnosed from; nothing where no overlay was looked at."""
        if lines := [*self.diagnosis, *diagnosis(self.config)]:
            packed = gzip.compress("".join(f"{line}\n" for line in lines).encode())
            self.destination.write(self.destination.diagnosis, packed)

    def _write_conformance(self) -> None:
        self.destination.write(self.destination.conformance, json.dumps(self.result, indent=1) + "\n")

    def _last_word(self, status: int) -> int:
        """Print the answer, after everything else that is printed; return the exit status."""
        if self.conformance is None:
            return status
        lines: list[terminal.SummaryLine] = []
        if self.destination.error is not None:
            status = self._admit_missing(status, self.conformance)
            message = refusal(self.destination.directory, self.destination.error, self.destination.missing)
            lines += [terminal.SummaryLine(line, "bad") for line in message.splitlines()]
        elif self.config.get_verbosity() >= 0:
            lines.append(terminal.SummaryLine(f"results: {self.destination.page}", "faint"))
        for problem in self.config.hook.pytest_overcast_not_restored(config=self.config):
            lines += [terminal.SummaryLine(line, "bad") for line in problem.splitlines()]
        if "baseline" in self.result:
            lines += terminal.since(self.result["baseline"], self._width())
        where = self.destination.page_from(self.config.invocation_params.dir)
        findings = self.recorder.findings()
        lines += [terminal.SummaryLine(line) for line in ci.error_lines(os.environ, findings)]
        lines += answer(self.conformance, findings, self.environment, width=self._width(), results=where)
        self._print(lines)
        return status

    def _admit_missing(self, status: int, conformance: Conformance) -> int:
        """Let status and conformance.json say that results are missing, also those that were written after it."""
        status = exit_status(conformance, status, written=False)
        if self.destination.takes_files and status != self.result["exit_status"]:
            self.result["exit_status"] = status
            with self.destination.noting_errors():
                self.destination.conformance.unlink(missing_ok=True)  # there may be no room for two
            self._write_conformance()
        if ALLURE_FOLDER in self.destination.missing:
            self.destination.drop_allure()  # of what was written since then
        return status

    def _print(self, lines: list[terminal.SummaryLine]) -> None:
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is None:
            return
        encoding = getattr(getattr(self.config.get_terminal_writer(), "_file", None), "encoding", None)
        for line in lines:
            reporter.write_line(terminal.encodable(line.text, encoding), **MARKUP[line.tone])

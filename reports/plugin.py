"""
The results of a run: `conformance.json`, `index.html`, `junit.xml`, Allure results, the summary and the exit status.

Results are made where the whole run is seen: in the one process of a plain run, in the controller of pytest-xdist.
Workers send what only they know (which tests there were, where they ran) when they end.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lab.errors import UsageProblem
from reports import hookspecs
from reports.console.folding import Folding
from reports.console.progress import ProgressReporter
from reports.files.destination import Destination, covers, only_looks, switch_on
from reports.files.ownership import refusal
from reports.html import captures
from reports.processes import KNOWN, Worker
from reports.results import Results
from reports.verdict import compare
from reports.verdict.environment import version


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hook by which the lab reports where it runs."""
    pluginmanager.add_hookspecs(hookspecs)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare where results go."""
    parser.getgroup("overcast", "Overcast").addoption(
        "--reports",
        metavar="DIR",
        default=None,
        help="folder for the results of a conformance run: conformance.json, index.html, junit.xml, allure-results/ "
        "(default: reports/ of the checkout)",
    )
    parser.getgroup("overcast", "Overcast").addoption(
        "--baseline",
        metavar="FILE",
        default=None,
        help="an earlier conformance.json, or its folder: print what is new, gone and still failing since then, "
        "and show it on the page",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Take part in conformance runs only, before the plugins are configured whose options are given a value here."""
    if only_looks(config):
        return
    if config.get_verbosity() < 2 and hasattr(config.option, "force_short_summary"):
        config.option.force_short_summary = True  # where CI is set, pytest's list of failures repeats whole messages
    if hasattr(config, "workerinput"):
        given = config.workerinput.get(KNOWN, {})
        if getattr(config.option, "allure_report_dir", "") is None:
            config.option.allure_report_dir = given.get("allure")
        if place := given.get("captures"):
            config.stash[captures.PLACE] = Path(place)
        config.pluginmanager.register(Worker(config), "overcast-results")
        return
    touched, whole = covers(config)
    if touched:
        given = config.getoption("reports")
        if given == "":
            raise pytest.UsageError("--reports: expected a folder; found nothing\n  fix: --reports=DIR")
        directory = Path(config.invocation_params.dir, given) if given else config.rootpath / "reports"
        baseline = _baseline(config)  # before the results of an earlier run in that folder are removed
        destination = Destination(directory)
        destination.open()
        if given and destination.error:
            raise pytest.UsageError(refusal(directory, destination.error))
        if destination.error is None:
            switch_on(config, destination)
            destination.note_earlier()
            config.stash[captures.PLACE] = destination.captures
        folding = Folding(config)
        config.pluginmanager.register(folding, "overcast-folding")
        results = Results(config, destination, folding, partial_paths=not whole, baseline=baseline)
        config.pluginmanager.register(results, "overcast-results")
        config.pluginmanager.register(ProgressReporter(config), "overcast-progress")


def _baseline(config: pytest.Config) -> compare.Baseline | None:
    name = config.getoption("baseline")
    if name is None:
        return None
    try:
        return compare.Baseline(name, compare.load(Path(config.invocation_params.dir, name)))
    except UsageProblem as problem:
        raise pytest.UsageError(f"--baseline: {problem}") from None


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Print Overcast's version before pytest's; a single --version is pytest's own, which then loads no plugin."""
    if config.option.version:
        sys.stdout.write(f"Overcast {version()}\n")


def pytest_report_header() -> str:
    """Print which Overcast runs."""
    return f"overcast: version {version()}"

"""Keeps a full disk from ending the run in a traceback where others write: pytest's junit.xml, Allure's results."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import allure_commons
import pytest

from reports.files.destination import Destination
from reports.files.plain import shown

SUITES = ("parentSuite", "suite")


def guard_junit(config: pytest.Config, destination: Destination) -> None:
    """Let the writer of junit.xml fail with a note in place of an exception, and then not announce the file."""
    for plugin in [one for one in config.pluginmanager.get_plugins() if type(one).__name__ == "LogXML"]:
        name = config.pluginmanager.get_name(plugin)
        config.pluginmanager.unregister(plugin)
        _guard_writer(plugin, destination)
        config.pluginmanager.register(plugin, name)


def _guard_writer(plugin: Any, destination: Destination) -> None:
    write: Callable[[], None] = plugin.pytest_sessionfinish
    announce: Callable[..., None] = plugin.pytest_terminal_summary

    path = Path(plugin.logfile)

    def pytest_sessionfinish() -> None:
        if destination.begun or path != destination.junit:  # an earlier run's stays when this one had no test
            destination.secure(path, write)

    def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        if path.parent != destination.directory and path.name not in destination.missing:
            announce(terminalreporter, config)

    plugin.pytest_sessionfinish = pytest_sessionfinish
    plugin.pytest_terminal_summary = pytest_terminal_summary


def guard_allure(config: pytest.Config, note: Callable[[OSError], None]) -> None:
    """Record a result that Allure cannot write; its test continues."""

    def guarded(self: object) -> Generator[None, Any, Any]:
        try:
            return (yield)
        except OSError as error:
            note(error)
            return None

    around = allure_commons.hookimpl(wrapper=True)(guarded)
    for plugin in allure_commons.plugin_manager.get_plugins():
        if hasattr(plugin, "_report_item"):
            _spare_empty_containers(plugin)

    class Guard:
        """Stands around every write of allure_commons' file logger."""

        @allure_commons.hookimpl(wrapper=True)
        def report_result(self, result: Any) -> Generator[None, Any, Any]:
            if result.statusDetails is not None:
                result.statusDetails.message = shown(result.statusDetails.message or "")
            if suites := [one.value for name in SUITES for one in result.labels if one.name == name]:
                result.titlePath = suites  # Allure 3 lists tests by this, which is their files otherwise
            return (yield from guarded(self))

        report_container = around
        report_attached_file = around
        report_attached_data = around

    guard = Guard()
    allure_commons.plugin_manager.register(guard)
    config.add_cleanup(lambda: allure_commons.plugin_manager.unregister(guard))


def _spare_empty_containers(logger: Any) -> None:
    """
    Keep Allure from writing a file for each fixture of each test that has nothing to tell.

    Thousands of them are a fifth of a run's time.  One that failed, or has a step or an attachment, is written.
    """
    write = logger._report_item

    def sparing(item: Any) -> None:
        fixtures = [*(getattr(item, "befores", None) or ()), *(getattr(item, "afters", None) or ())]
        telling = any(each.attachments or each.steps or each.status not in (None, "passed") for each in fixtures)
        if telling or not hasattr(item, "befores"):
            write(item)

    logger._report_item = sparing

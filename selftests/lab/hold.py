"""
A pytest plugin for the selftests: it prints READY at one point of the run, and then waits until it is ended, or
continued by SIGUSR1.

    python -m pytest -p selftests.lab.hold ...                            in the first test's call
    OVERCAST_SELFTEST_HOLD=pytest_sessionfinish python -m pytest ...      in the first call of that hook
"""

import os
import signal
import sys

import pytest

from lab import interrupts

HOLD = "OVERCAST_SELFTEST_HOLD"
HOOKS = (
    "pytest_configure",
    "pytest_collectstart",
    "pytest_runtest_setup",
    "pytest_runtest_call",
    "pytest_runtest_teardown",
    "pytest_runtest_logreport",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
)


class Hold:
    """Stands still once."""

    held = False

    def __init__(self, hook: str) -> None:
        setattr(self, hook, pytest.hookimpl(trylast=hook == "pytest_runtest_call")(lambda: self._hold()))

    def _hold(self) -> None:
        if self.held:
            return
        self.held = True
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.signal(signal.SIGUSR1, lambda number, frame: None)
        # of two signals that come at once, another thread may get the second: only this wakes the main thread then
        signal.set_wakeup_fd(writing)
        sys.__stdout__.write("READY\n")
        sys.__stdout__.flush()
        with interrupts.waiting():
            while os.read(reading, 1)[0] != signal.SIGUSR1:
                pass


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.register(Hold(os.environ.get(HOLD, "pytest_runtest_call")))

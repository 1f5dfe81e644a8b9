"""What holds for all tests of the project itself; also loaded by a process that only has workers run them."""

import signal

import pytest

from selftests import workers
from selftests.faults.matrix import table


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """Register the plugins now: the number of workers is asked for before anything is configured."""
    pluginmanager.register(workers)
    pluginmanager.register(table)


def pytest_configure() -> None:
    """What the tests start can be interrupted, also where this run cannot: a shell's background jobs ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.default_int_handler)

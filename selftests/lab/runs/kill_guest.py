"""
A pytest plugin for the selftests: it kills the guest when a test is about to run, as often as is asked for.

    OVERCAST_SELFTEST_KILLS=2 python -m pytest -p selftests.lab.runs.kill_guest ...
"""

import contextlib
import os
import signal

import pytest

from selftests.lab.processes import descendants

KILLS = "OVERCAST_SELFTEST_KILLS"


class Killing:
    """What is left to do."""

    left = int(os.environ.get(KILLS, "1"))


@pytest.hookimpl(trylast=True)
def pytest_runtest_setup() -> None:
    """After the fixtures have set the lab up."""
    if Killing.left:
        Killing.left -= 1
        for member in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError):  # it ended with another one of them
                os.kill(member, signal.SIGKILL)

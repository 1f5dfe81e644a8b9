"""
A pytest plugin for the selftests: it says READY in the first test's call, and then stands still until it is ended, or
told to go on by SIGUSR1.

    python -m pytest -p selftests.lab.hold ...
"""

import signal
import sys

import pytest

HELD = pytest.StashKey[bool]()


@pytest.hookimpl(trylast=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    if item.config.stash.get(HELD, False):
        return
    item.config.stash[HELD] = True
    # blocked, so that it is waited for also when it comes at once; an interrupt still ends the waiting
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    sys.__stdout__.write("READY\n")
    sys.__stdout__.flush()
    signal.sigwaitinfo({signal.SIGUSR1})

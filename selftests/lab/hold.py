"""
A pytest plugin for the selftests: it says READY in the first test's call, and then stands still until it is ended.

    python -m pytest -p selftests.lab.hold ...
"""

import signal
import sys

import pytest


@pytest.hookimpl(trylast=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    sys.__stdout__.write("READY\n")
    sys.__stdout__.flush()
    signal.pause()

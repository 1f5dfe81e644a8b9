"""Taps forget between tests: ahead, when a test has ended; else when the next one begins."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fixtures.built_labs import labs


class Remembered:
    """A lab that records the requests to forget."""

    closed = False

    def __init__(self) -> None:
        self.requests: list[bool | str] = []

    def forget(self, *, ahead: bool) -> None:
        self.requests.append(ahead)

    def forget_ahead(self) -> None:
        self.requests.append("ahead")


def test_forgetting_ahead_counts_for_one_test() -> None:
    """A test whose teardown fails requests nothing ahead: the request of the test before it does not count."""
    item: Any = SimpleNamespace(config=SimpleNamespace(stash=pytest.Stash()))
    lab: Any = Remembered()
    labs.pytest_configure(item.config)

    for ends in (True, False, True):
        labs.pytest_runtest_setup(item)
        labs._begin(item.config, lab)
        if ends:
            labs.pytest_runtest_teardown(item)

    assert lab.requests == [False, "ahead", True, False, "ahead"]

"""Taps forget between tests: told ahead when a test ended, else asked to when the next one begins."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fixtures import labs


class Remembered:
    """A lab that remembers how it was asked to forget."""

    closed = False

    def __init__(self) -> None:
        self.asked: list[bool | str] = []

    def forget(self, *, told: bool) -> None:
        self.asked.append(told)

    def forget_ahead(self) -> None:
        self.asked.append("ahead")


def test_a_lab_that_was_told_nothing_is_asked() -> None:
    """A test that breaks while it is torn down skips the telling: that of the test before it does not count."""
    item: Any = SimpleNamespace(config=SimpleNamespace(stash=pytest.Stash()))
    lab: Any = Remembered()
    labs.pytest_configure(item.config)

    for tells in (True, False, True):
        labs.pytest_runtest_setup(item)
        labs._begin(item.config, lab)
        if tells:
            labs.pytest_runtest_teardown(item)

    assert lab.asked == [False, "ahead", True, False, "ahead"]

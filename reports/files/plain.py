"""Removes a terminal's control sequences and what is secret from reports, so that no result holds any."""

from __future__ import annotations

import re
from typing import Any

import pytest

from lab.output.secrets import cleaned

CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, the cursor
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC: titles, links
    r"|\x1b[ -/]*[0-~]"
)


def plain(text: str) -> str:
    """Return a text without control sequences."""
    return CONTROL.sub("", text)


def shown(text: str) -> str:
    """Return a text as results show it: without control sequences and secrets."""
    return cleaned(plain(text))


def make_plain(report: pytest.TestReport) -> None:
    """
    Take control sequences and secrets out of what a test printed and of its failure.

    Lines of code stay as they are: they are the project's own.
    """
    report.sections = [(name, shown(text)) for name, text in report.sections]
    failure: Any = report.longrepr
    if isinstance(failure, str):
        report.longrepr = shown(failure)
    for traceback, crash, _ in getattr(failure, "chain", ()):
        for entry in traceback.reprentries:
            entry.lines = [shown(line) if line.startswith("E ") else plain(line) for line in entry.lines]
        if crash is not None:
            crash.message = shown(crash.message)

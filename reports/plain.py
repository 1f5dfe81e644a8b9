"""Removes a terminal's colours and other control sequences from reports, so that no result holds any."""

from __future__ import annotations

import re
from typing import Any

import pytest

CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, the cursor
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC: titles, links
    r"|\x1b[ -/]*[0-~]"
)


def plain(text: str) -> str:
    """Return a text without control sequences."""
    return CONTROL.sub("", text)


def make_plain(report: pytest.TestReport) -> None:
    """Take control sequences out of what a test printed and of its failure, as its assertions coloured it."""
    report.sections = [(name, plain(text)) for name, text in report.sections]
    failure: Any = report.longrepr
    if isinstance(failure, str):
        report.longrepr = plain(failure)
    for traceback, crash, _ in getattr(failure, "chain", ()):
        for entry in traceback.reprentries:
            entry.lines = [plain(line) for line in entry.lines]
        if crash is not None:
            crash.message = plain(crash.message)

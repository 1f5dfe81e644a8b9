"""Attaches the evidence of failed tests to their Allure results, and keeps their frames beside the page."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from lab.steps import Step
from reports import captures, labels
from reports.attachments import attach_json, attach_pcap, attach_text, show_step


@pytest.hookimpl
def pytest_overcast_evidence(item: pytest.Item, attachments: dict[str, object]) -> None:
    """Attach each piece by what it is."""
    for name, content in attachments.items():
        if isinstance(content, bytes):
            if content:
                attach_pcap(name, content)
                captures.keep(item.config, item.nodeid, content)
        elif isinstance(content, str):
            attach_text(name, content)
        else:
            attach_json(name, content)


@pytest.hookimpl
def pytest_overcast_steps(item: pytest.Item, steps: Sequence[Step]) -> None:
    """Show each step in the test's Allure result, where such results are written."""
    if labels.active(item.config):
        for step in steps:
            show_step(str(step), step.failure)

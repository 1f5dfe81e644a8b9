"""Attaches the evidence of failed tests to their Allure results, and keeps their frames beside the page."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence

import allure
import pytest

from lab.output.steps import Step
from reports.allure import labels
from reports.files.plain import shown
from reports.html import captures


def pytest_overcast_evidence(item: pytest.Item, attachments: dict[str, object]) -> None:
    """Attach each piece by what it is; without Allure results nothing is attached."""
    for name, content in attachments.items():
        if isinstance(content, bytes):
            if content:
                allure.attach(content, name, "application/x-pcapng", extension="pcapng")
                captures.keep(item.config, item.nodeid, content)
        elif isinstance(content, str):
            allure.attach(content, name, allure.attachment_type.TEXT)
        else:
            allure.attach(json.dumps(content, indent=1, default=str), name, allure.attachment_type.JSON)


def pytest_overcast_steps(item: pytest.Item, steps: Sequence[Step]) -> None:
    """Show each step in the test's Allure result, passed or failed with its reason, where such results are written."""
    if labels.active(item.config):
        for step in steps:
            with contextlib.suppress(AssertionError), allure.step(shown(str(step))):
                if step.failure:
                    raise AssertionError(shown(step.failure))

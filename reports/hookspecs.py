"""The hooks by which other plugins tell the reports what they know, so that neither has to import the other."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from lab.model import Topology
from lab.output.steps import Step


@pytest.hookspec(firstresult=True)
def pytest_overcast_topology(config: pytest.Config) -> Topology | None:
    """Return the overlay that this process tests, for the drawing; None when it is not known (yet)."""


def pytest_overcast_environment(config: pytest.Config) -> dict[str, str]:
    """
    Return facts about the lab of this process, such as `machine` (guest, local, ssh) and `kernel` (its release).

    Called once at the end of the session, in each xdist worker, when conformance tests were collected, and at the
    first test for Allure; return an empty dict when nothing is known (yet).
    """
    raise NotImplementedError(config)


def pytest_overcast_evidence(item: pytest.Item, attachments: dict[str, object]) -> None:
    """
    Take the evidence of a failed test: file name to content (text, builtins for JSON, bytes of a capture).

    Called while the test's report is made, before anything of the lab is torn down.
    """


def pytest_overcast_steps(item: pytest.Item, steps: Sequence[Step]) -> None:
    """
    Take steps of a test: what it did, and the causes of its failure.

    Called at the end of its body, and while the report of a failure is made.
    """


def pytest_overcast_diagnosis(config: pytest.Config) -> list[str]:
    """
    Return what the diagnosis of this process looked at, one line of JSON for each overlay (`overcast bundle`).

    Called once at the end of the session, in each xdist worker.
    """
    raise NotImplementedError(config)


def pytest_overcast_not_restored(config: pytest.Config) -> str | None:
    """
    Return what is wrong with hosts that are not as they were before the run, with the command to run.

    Called once when the session has finished: it is printed right above the causes and the verdict.
    """

"""For inner runs: a diagnosis that finds nothing (`-p selftests.faults.runs.blind`)."""

from __future__ import annotations

from typing import Any

import pytest

from lab.diagnose.explain import Diagnosis


def pytest_configure(config: pytest.Config) -> None:
    """Take the place of the diagnosis."""
    from fixtures.failures import causes  # not before pytest has it imported as a plugin

    def nothing(scene: Any) -> Diagnosis:
        return Diagnosis()

    patch = pytest.MonkeyPatch()
    patch.setattr(causes, "diagnose", nothing)
    config.add_cleanup(patch.undo)

"""
For inner runs: what is waited for once a cause is known, and how often the labs are looked at (`-p ...faults.waits`).

A line of what it prints is `waits: ` and JSON: `fences` as [sender, receiver, seconds], and `gathered`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

MARK = "waits: "


class Fence(NamedTuple):
    """Between which hosts a fence was waited for, and for how long."""

    sender: str
    receiver: str
    seconds: float


class Waited(NamedTuple):
    """What a run waited for once a cause was known, and how often labs were looked at in all."""

    fences: list[Fence]
    gathered: int


def of(printed: str) -> Waited:
    """What a run with this plugin printed of it."""
    (line,) = [line for line in printed.splitlines() if line.startswith(MARK)]
    read = json.loads(line.removeprefix(MARK))
    return Waited([Fence(*one) for one in read["fences"]], read["gathered"])


class Waits:
    """Counts, beside what the run does."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.fences: set[tuple[str, str, float]] = set()
        self.gathered = 0

    def begin(self, patch: pytest.MonkeyPatch) -> None:
        """Note each fence and each diagnosis."""
        from fixtures import causes  # not before pytest has it imported as a plugin
        from lab.probes.listening import Listening

        grace_for, gather = Listening._grace_for, causes.scene.gather

        def noted(listening: Listening, pairs: Sequence[tuple[str, str]]) -> float:
            seconds = grace_for(listening, pairs)
            if self._config.stash[causes.CAUSES].known:
                self.fences |= {(*pair, seconds) for pair in pairs}
            return seconds

        def counted(*of: Any, **more: Any) -> Any:
            self.gathered += 1
            return gather(*of, **more)

        patch.setattr(Listening, "_grace_for", noted)
        patch.setattr(causes.scene, "gather", counted)

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print both as one line."""
        terminalreporter.ensure_newline()
        terminalreporter.write_line(MARK + json.dumps({"fences": sorted(self.fences), "gathered": self.gathered}))


def pytest_configure(config: pytest.Config) -> None:
    """Begin to count."""
    patch = pytest.MonkeyPatch()
    waits = Waits(config)
    waits.begin(patch)
    config.pluginmanager.register(waits)
    config.add_cleanup(patch.undo)

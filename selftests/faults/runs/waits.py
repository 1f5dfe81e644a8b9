"""
For inner runs: what is waited for once a cause is known, and how often the labs are looked at (`-p ...runs.waits`).

A line of what it prints is `waits: ` and JSON: `fences` as [sender, receiver, seconds], and the other fields of
`Waited`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

from lab.errors import CheckFailed

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
    reports: list[float]
    """Seconds for membership reports that did not come."""
    late: list[float]
    """Seconds for datagrams after their fences, that did not come."""
    tables: int
    """How often a failure was looked for in the tables of neighbours."""


def of(printed: str) -> Waited:
    """What a run with this plugin printed of it."""
    (line,) = [line for line in printed.splitlines() if line.startswith(MARK)]
    read = json.loads(line.removeprefix(MARK))
    return Waited(**{**read, "fences": [Fence(*one) for one in read["fences"]]})


class Waits:
    """Counts, beside what the run does."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.fences: set[tuple[str, str, float]] = set()
        self.gathered = 0
        self.reports: list[float] = []
        self.late: list[float] = []
        self.tables = 0

    def begin(self, patch: pytest.MonkeyPatch) -> None:
        """Note each fence, each diagnosis, and what else is waited for or read."""
        from fixtures.failures import causes  # not before pytest has it imported as a plugin
        from lab.probes.deadlines import Patience
        from lab.probes.fences import Fences
        from lab.probes.host_state import snooping

        grace_for, gather, full = Fences.grace_for, causes.scene.gather, causes.neighbour_tables.full
        await_listed, waiting = snooping.await_listed, Patience.waiting

        def noted(fences: Fences, pairs: Sequence[tuple[str, str]]) -> float:
            seconds = grace_for(fences, pairs)
            if self._known:
                self.fences |= {(*pair, seconds) for pair in pairs}
            return seconds

        def counted(*of: Any, **more: Any) -> Any:
            self.gathered += 1
            return gather(*of, **more)

        def tables(*of: Any) -> Any:
            self.tables += 1
            return full(*of)

        def listed(*of: Any, timeout: float, **more: Any) -> None:
            try:
                await_listed(*of, timeout=timeout, **more)
            except CheckFailed:
                self.reports += [timeout] if self._known else []
                raise

        @contextmanager
        def waited(patience: Patience, came: list[object]) -> Iterator[float]:
            with waiting(patience, came) as seconds:
                yield seconds
            if not came:
                self.late += [seconds] if self._known else []

        patch.setattr(snooping, "await_listed", listed)
        patch.setattr(Patience, "waiting", waited)
        patch.setattr(causes.neighbour_tables, "full", tables)
        patch.setattr(Fences, "grace_for", noted)
        patch.setattr(causes.scene, "gather", counted)

    @property
    def _known(self) -> bool:
        """Whether the run has found a cause."""
        from fixtures.failures import causes

        return bool(self._config.stash[causes.CAUSES].known)

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print all of it as one line."""
        found = Waited(sorted(Fence(*one) for one in self.fences), self.gathered, self.reports, self.late, self.tables)
        terminalreporter.ensure_newline()
        terminalreporter.write_line(MARK + json.dumps(found._asdict()))


def pytest_configure(config: pytest.Config) -> None:
    """Begin to count."""
    patch = pytest.MonkeyPatch()
    waits = Waits(config)
    waits.begin(patch)
    config.pluginmanager.register(waits)
    config.add_cleanup(patch.undo)

"""
What a test does, in steps that a report shows: how it arranged the lab, what it sent, what arrived, what it expected.

    STEPS.begin()
    ...                                  nodes, hosts and listenings note what they are asked
    for step in STEPS.end(): print(step)     stimulus: spoke1 sends 1 datagram to 172.16.254.255:22183 (overlay)
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lab.errors import CheckFailed

StepKind = Literal["arrange", "stimulus", "received", "expected", "cause", "fix"]
MOST = 40
"""Steps of a test that are kept; what tests of sizes and streams do is the same a hundred times."""
LONGEST = 240


@dataclass(frozen=True)
class Step:
    """One step; `failure` is why it did not hold."""

    kind: StepKind
    text: str
    failure: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


class Steps:
    """The steps of the test that runs; between tests nothing is noted."""

    def __init__(self) -> None:
        self._noted: list[Step] | None = None

    def begin(self) -> None:
        """Note from now on."""
        self._noted = []

    def end(self) -> list[Step]:
        """Note nothing any more; return what was noted."""
        noted, self._noted = self._noted or [], None
        return noted

    def note(self, kind: StepKind, text: str, failure: str = "") -> None:
        """Add a step; of very many only the first are kept, and those that did not hold."""
        if self._noted is not None and (len(self._noted) < MOST or failure):
            shown = " ".join(text.split())
            self._noted.append(Step(kind, shown if len(shown) <= LONGEST else f"{shown[:LONGEST]} ...", failure))

    @contextlib.contextmanager
    def expecting(self, text: str) -> Iterator[None]:
        """Add what is expected when the block has judged it."""
        try:
            yield
        except CheckFailed as failed:
            self.note("expected", text, failed.message)
            raise
        self.note("expected", text)


STEPS = Steps()
"""Of this process: tests run in it one after the other."""


def in_words(name: str, made: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    """Changes of a network stack in words: `hub: link_set gretap2 nomaster=True`."""
    return f"{name}: " + "; ".join(" ".join([verb, *_fields(fields)]) for verb, fields in made)


def _fields(fields: Mapping[str, Any]) -> Iterable[str]:
    for key, value in fields.items():
        yield str(value) if key in ("device", "to") else f"{key}={value}"

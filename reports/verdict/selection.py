"""What the user gave that leaves conformance tests out."""

from __future__ import annotations

import pytest

from lab.requirements import scope
from reports.verdict.conformance import Selection

NARROWING = {
    "keyword": "-k",
    "markexpr": "-m",
    "lf": "--lf",
    "stepwise": "--stepwise",
    "ignore": "--ignore",
    "ignore_glob": "--ignore-glob",
    "deselect": "--deselect",
    "requirements": "--requirements",
    "stream": "--stream",
}
"""Options that leave tests out, by pytest's name for each."""
UNCOLLECTED = frozenset(("--lf", "--stepwise", "--ignore", "--ignore-glob", "--deselect"))
"""Those that may keep whole files from being collected."""


def selection(config: pytest.Config, *, partial_paths: bool, failures: int) -> Selection:
    """Return what the user's options select; `failures` is how many tests failed."""
    given = [word for name, word in NARROWING.items() if config.getoption(name, default=None)]
    most = int(config.getoption("maxfail", default=0) or 0)
    return Selection(
        scope=scope(lambda option: config.getoption(option, default=None)),
        partial_paths=partial_paths,
        partial_options=bool(set(given) & UNCOLLECTED),
        narrowing=(*given, *(["paths"] if partial_paths else [])),
        ending=("-x" if most == 1 else f"--maxfail={most}") if 0 < most <= failures else "",
    )

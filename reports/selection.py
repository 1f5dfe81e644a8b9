"""Which conformance tests there were to run, and what the user gave that leaves some out."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from lab.requirements import scope
from reports.conformance import Selection

NARROWING = {
    "keyword": "-k",
    "markexpr": "-m",
    "lf": "--lf",
    "stepwise": "--stepwise",
    "ignore": "--ignore",
    "ignore_glob": "--ignore-glob",
    "deselect": "--deselect",
    "requirements": "--requirements",
}
"""Options that leave tests out, by pytest's name for each."""
UNCOLLECTED = frozenset(("--lf", "--stepwise", "--ignore", "--ignore-glob", "--deselect"))
"""Those that may keep whole files from being collected."""


def selection(
    config: pytest.Config,
    collected: Mapping[str, tuple[str, ...]],
    deselected: frozenset[str],
    *,
    partial_paths: bool,
    failures: int,
    stopped: str,
    interrupted: bool,
    broken: tuple[str, ...],
) -> Selection:
    """Return the selection of a run; `failures` is how many tests failed, `stopped` why it ended early."""
    given = [word for name, word in NARROWING.items() if config.getoption(name, default=None)]
    most = int(config.getoption("maxfail", default=0) or 0)
    return Selection(
        collected=collected,
        scope=scope(lambda option: config.getoption(option, default=None)),
        deselected=deselected,
        partial_paths=partial_paths,
        partial_options=bool(set(given) & UNCOLLECTED),
        narrowing=(*given, *(["paths"] if partial_paths else [])),
        ending=("-x" if most == 1 else f"--maxfail={most}") if 0 < most <= failures else "",
        stopped=stopped,
        interrupted=interrupted,
        broken=broken,
    )

"""
Writes `docs/requirements.md` from the catalogue and from the tests that assert each requirement.

    python -m reports.catalogue            write it
    python -m reports.catalogue --check    check that it is up to date; exit status 1 if not
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from lab.requirements import AREAS, CATALOGUE, SCOPE, Requirement

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "requirements.md"
REGENERATE = "python -m reports.catalogue"

INTRODUCTION = f"""\
# Requirements

The requirements of an overlay for broadcast and multicast, and their tests. Generated from `lab/catalogue.json` and
from the tests: do not edit it, run `{REGENERATE}`.

MUST requirements of the areas in scope decide the verdict: `conformant` when all of them hold, `nonconformant` when one
does not, `incomplete` when one was not tested. SHOULD requirements are reported with it and do not change it. Areas
marked *on demand* count for the verdict only in runs with their option, for example `--applications`.

"The article" is the how-to that describes this overlay; hosts are called `hub`, `spoke1`, `spoke2`, ... and the
emulated cloud network is the VCN. "Source" is the document, or the place in the Linux kernel, from which a requirement
follows.
"""


class AssertingTests:
    """Collects which test functions assert which requirement; parameters do not make another test."""

    def __init__(self) -> None:
        self.tests: dict[str, dict[str, None]] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Read the markers of every conformance test."""
        for item in session.items:
            for mark in item.iter_markers("requirement"):
                for identity in mark.args:
                    self.tests.setdefault(str(identity), {})[item.nodeid.partition("[")[0]] = None


def asserting_tests() -> dict[str, list[str]]:
    """Return the test functions that assert each requirement; raises RuntimeError when they cannot be collected."""
    found = AssertingTests()
    options = ["--collect-only", "--applications", f"--rootdir={ROOT}", "-pno:terminal", "-pno:cacheprovider"]
    status = pytest.main([*options, str(ROOT / "tests")], plugins=[found])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise RuntimeError(f"the tests cannot be collected; try: pytest --collect-only tests (status {int(status)})")
    return {identity: sorted(tests) for identity, tests in found.tests.items()}


def text(tests: Mapping[str, Sequence[str]]) -> str:
    """Return the document."""
    blocks = [INTRODUCTION, *_overview(tests)]
    for area, title in AREAS.items():
        blocks.append(f"\n## {title}\n")
        if area not in SCOPE:
            blocks.append("*On demand: part of the verdict of a run with `--applications`.*\n")
        blocks += [_entry(one, tests.get(one.id, [])) for one in _of(area)]
    return "\n".join(blocks)


def _overview(tests: Mapping[str, Sequence[str]]) -> Iterator[str]:
    yield "| area | | MUST | SHOULD | asserted by tests |"
    yield "|---|---|---:|---:|---:|"
    for area, title in AREAS.items():
        members = _of(area)
        must = sum(one.level == "MUST" for one in members)
        asserted = sum(one.id in tests for one in members)
        asked = "" if area in SCOPE else " (on demand)"
        anchor = title.lower().replace(" ", "-")
        yield f"| {area} | [{title}](#{anchor}){asked} | {must} | {len(members) - must} | {asserted} |"


def _of(area: str) -> list[Requirement]:
    return [one for one in CATALOGUE.values() if one.area == area]


def _entry(one: Requirement, tests: Sequence[str]) -> str:
    lines = [f"### {one.id} ({one.level})\n", f"{one.statement}\n", f"- Source: {one.source}"]
    if one.broken_by:
        lines.append(f"- Broken by: {one.broken_by}")
    lines.append(f"- Tests: {', '.join(f'`{test}`' for test in tests) or 'none yet'}")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the document; return the exit status."""
    parser = argparse.ArgumentParser(prog=REGENERATE, description="Write docs/requirements.md.")
    parser.add_argument("--check", action="store_true", help="only check that it is up to date")
    check = parser.parse_args(arguments).check
    try:
        wanted = text(asserting_tests())
    except RuntimeError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    written = TARGET.read_text(encoding="utf-8") if TARGET.exists() else ""
    if check and written != wanted:
        sys.stderr.write(f"docs/requirements.md is out of date\n  fix: {REGENERATE}\n")
        return 1
    if not check:
        TARGET.parent.mkdir(exist_ok=True)
        TARGET.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

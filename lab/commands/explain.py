"""`overcast explain FILE`: the findings of a run, from its bundle: without its hosts, and without root."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path

from lab.causes import cause_lines
from lab.diagnose import bundle
from lab.diagnose.bundle import Bundle, Reported

SUMMARY = "Explains a run from the file that `overcast bundle` wrote, without the run's hosts and without root."
MOST_OTHERS = 8
PLACE = ("tunnel", "topology", "provider", "injected fault")


def arguments(parser: argparse.ArgumentParser) -> None:
    """The bundle."""
    parser.add_argument("file", metavar="FILE", type=Path, help="the bundle: overcast-bundle.tar.gz")


def run(arguments: argparse.Namespace) -> int:
    """Prints each finding as the run did, then the run's verdict."""
    for line in lines(bundle.read(arguments.file), shutil.get_terminal_size().columns):
        print(bundle.printable(line))
    return 0


def lines(packed: Bundle, width: int) -> Iterator[str]:
    """The findings that the run reported, the other ones of its scenes, and its verdict."""
    found = packed.found
    for reported in packed.reported:
        again = found.get(reported.key)
        yield from cause_lines((again or reported).data(), width, _caused(reported))
        if again is None:
            yield "    as the run reported it; it does not follow from the scenes in this file alone"
        elif again.remedy != reported.remedy:
            yield f"    the run reported another fix: {reported.remedy or 'none'}"
    known = {reported.key for reported in packed.reported}
    others = [finding for key, finding in found.items() if key not in known]
    for finding in others[:MOST_OTHERS]:
        where = f"{finding.place} {finding.interface}".strip()
        yield f"also found, without a failed test: {finding.code} at {where}"
    if len(others) > MOST_OTHERS:
        yield f"also found, without a failed test: {len(others) - MOST_OTHERS} more"
    yield _verdict(packed)


def _caused(reported: Reported) -> str:
    count = len(reported.tests)
    ids = ", ".join(reported.requirements)
    return f"caused {count} test failure{'' if count == 1 else 's'} ({ids})" if count else ""


def _verdict(packed: Bundle) -> str:
    results = packed.results
    counts, environment = (_table(results.get(name)) for name in ("counts", "environment"))
    must = _table(counts.get("MUST"))
    where = ", ".join(str(environment[name]) for name in PLACE if environment.get(name))
    applicable = sum(int(str(must.get(name, 0))) for name in ("passed", "failed", "not_run"))
    told = f"{must.get('failed', 0)} of {applicable} MUST do not hold"
    return f"verdict of the run: {results.get('verdict', 'unknown')} - {told}" + (f" ({where})" if where else "")


def _table(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}

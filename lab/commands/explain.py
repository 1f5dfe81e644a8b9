"""`overcast explain FILE`: the findings of a run or of live hosts, from a bundle: without hosts, and without root."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lab.bundles import bundle
from lab.bundles.bundle import Bundle
from lab.model import Finding, place
from lab.output.finding_text import cause_lines, fix, merged
from lab.requirements import counted

SUMMARY = "Prints the findings and fixes of a file that `overcast bundle` wrote; needs neither the hosts nor root."
MOST_OTHERS = 8
PLACE = ("tunnel", "topology", "provider", "injected fault")


def arguments(parser: argparse.ArgumentParser) -> None:
    """The bundle."""
    parser.add_argument("file", metavar="FILE", type=Path, help="the bundle: overcast-bundle.tar.gz")


def run(arguments: argparse.Namespace) -> int:
    """Prints each finding as the run did, then the run's verdict; of live hosts, each problem that the doctor found."""
    for line in lines(bundle.read(arguments.file), shutil.get_terminal_size().columns):
        print(bundle.printable(line))
    return 0


def lines(packed: Bundle, width: int) -> Iterator[str]:
    """The findings that were reported, the other ones of the scenes, and the verdict or the doctor's other problems."""
    found = packed.found
    every = [(reported, found.get(reported.key)) for reported in packed.reported]
    of_run = [{**(again or one).data(), "requirements": one.requirements, "tests": one.tests} for one, again in every]
    for cause in merged(of_run):
        yield from cause_lines(cause, width, _caused(cause))
    for reported, again in every:
        if again is None:
            yield f"{_at(reported)}: as it was reported; it does not follow from the scenes in this file alone"
        elif again.remedy != reported.remedy:
            yield f"{_at(reported)}: another fix was reported: {reported.remedy or 'none'}"
    known = {reported.key for reported in packed.reported}
    others = [finding for key, finding in found.items() if key not in known]
    for finding in others[:MOST_OTHERS]:
        yield f"also found, without a failed test: {_at(finding)}"
    if len(others) > MOST_OTHERS:
        yield f"also found, without a failed test: {len(others) - MOST_OTHERS} more"
    yield from _problems(packed) if packed.of_hosts else [_verdict(packed)]


def _problems(packed: Bundle) -> Iterator[str]:
    """The problems that are not findings of the overlay, and whether the hosts were ready."""
    checks, names = packed.results["checks"], _table(packed.results.get("hosts"))
    codes = {reported.code for reported in packed.reported}
    for check in map(_table, checks if isinstance(checks, list) else ()):
        if check.get("state") == "problem" and check.get("check") not in codes:
            yield f"{check.get('host')}: {check.get('check')}: {check.get('found')}"
            command, on = str(check.get("fix") or ""), str(check.get("fix_on") or "")
            if command:
                yield f"    {fix(place(on, str(names.get(on, '')), command), command)}"
    ready = "ready" if packed.results.get("ready") else "not ready"
    yield f"no run: the doctor examined live hosts and found them {ready}"


def _at(finding: Finding) -> str:
    return f"{finding.code} at {finding.place} {finding.interface}".strip()


def _caused(finding: Mapping[str, Any]) -> str:
    count = len(finding["tests"])
    ids = ", ".join(finding["requirements"])
    return f"caused {count} test failure{'' if count == 1 else 's'} ({ids})" if count else ""


def _verdict(packed: Bundle) -> str:
    results = packed.results
    counts, environment = (_table(results.get(name)) for name in ("counts", "environment"))
    must = _table(counts.get("MUST"))
    where = ", ".join(str(environment[name]) for name in PLACE if environment.get(name))
    held, failed, not_run = (int(str(must.get(name, 0))) for name in ("passed", "failed", "not_run"))
    verdict = f"{results.get('verdict', 'unknown')} - {counted(held, failed, not_run)}"
    return f"verdict of the run: {verdict}" + (f" ({where})" if where else "")


def _table(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}

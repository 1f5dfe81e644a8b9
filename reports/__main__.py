"""
Results of earlier runs.

    python -m reports compare BEFORE AFTER       what changed between two runs
    python -m reports load FILE                  the figures of `./overcast load --json > FILE` as a page with plots
    ./overcast allure [--reports=DIR]            the last run as Allure shows it
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lab.errors import OvercastError
from reports.allure import rendering
from reports.html import load_page
from reports.verdict import compare

USAGE = 2
REPORTS = Path(__file__).resolve().parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0, 1 when a requirement turned red between two runs, 2 when it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m reports", description="Results of earlier runs.")
    commands = parser.add_subparsers(dest="command", required=True)
    comparing = commands.add_parser("compare", help="print what changed between two runs")
    comparing.add_argument("before", type=Path, help="folder of results of the earlier run, or its conformance.json")
    comparing.add_argument("after", type=Path, help="the same of the later run")
    comparing.add_argument("--markdown", action="store_true", help="print Markdown, for a pull request")
    showing = commands.add_parser("allure", help="render the Allure results of the last run", prog="overcast allure")
    showing.add_argument("--reports", type=Path, default=REPORTS, help="folder of results (default: reports/)")
    loading = commands.add_parser("load", help="write the figures of `overcast load --json` as a page with plots")
    loading.add_argument("figures", type=Path, metavar="FILE", help="the output of `overcast load --json`")
    given = parser.parse_args(arguments)
    try:
        if given.command == "load":
            sys.stdout.write(f"{load_page.write(given.figures)}\n")
            return 0
        return _show(given.reports) if given.command == "allure" else _compare(given)
    except OvercastError as problem:
        sys.stderr.write(f"{problem}\n")
        return USAGE


def _show(reports: Path) -> int:
    page = rendering.render(reports)
    sys.stdout.write(f"{page}\n  to read it: {rendering.PROGRAM} open {page.parent}\n")
    return 0


def _compare(given: argparse.Namespace) -> int:
    before, after = compare.load(given.before), compare.load(given.after)
    sys.stdout.write(f"{compare.text(before, after, markdown=given.markdown)}\n")
    return int(any(heading == compare.RED for heading, _ in compare.changes(before, after)))


if __name__ == "__main__":
    sys.exit(main())

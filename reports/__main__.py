"""`python -m reports compare BEFORE AFTER`: what changed between two runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lab.errors import OvercastError
from reports import compare

USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the comparison; return 0, or 1 when a requirement turned red."""
    parser = argparse.ArgumentParser(prog="python -m reports", description="Results of earlier runs.")
    commands = parser.add_subparsers(dest="command", required=True)
    comparing = commands.add_parser("compare", help="print what changed between two runs")
    comparing.add_argument("before", type=Path, help="folder of results, or its conformance.json")
    comparing.add_argument("after", type=Path)
    comparing.add_argument("--markdown", action="store_true", help="for a pull request")
    given = parser.parse_args(arguments)
    try:
        before, after = compare.load(given.before), compare.load(given.after)
    except OvercastError as problem:
        sys.stderr.write(f"{problem}\n")
        return USAGE
    sys.stdout.write(f"{compare.text(before, after, markdown=given.markdown)}\n")
    return int(any(heading == compare.RED for heading, _ in compare.changes(before, after)))


if __name__ == "__main__":
    sys.exit(main())

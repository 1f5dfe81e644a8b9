"""
Writes the tables of findings in `docs/troubleshooting.md` from `lab/diagnose/codes.json`.

    python -m reports.findings            write them
    python -m reports.findings --check    say whether they are up to date; exit status 1 when they are not
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from lab.diagnose.codes import SECTIONS, Section

TARGET = Path(__file__).resolve().parents[1] / "docs" / "troubleshooting.md"
REGENERATE = "python -m reports.findings"
MARK = f"<!-- From here on generated from lab/diagnose/codes.json: do not edit it, run `{REGENERATE}`. -->\n"


def text(document: str) -> str:
    """Return the document with the tables as they are to be; what is written by hand stands before the mark."""
    return document.partition(MARK)[0] + MARK + "".join(line + "\n" for section in SECTIONS for line in _table(section))


def _table(section: Section) -> Iterator[str]:
    with_fix = any(code.fix for code in section.codes.values())
    yield from ("", f"### {section.title}", "", *((section.about, "") if section.about else ()))
    yield "| code | meaning |" + (" fix |" if with_fix else "")
    yield "|---|---|" + ("---|" if with_fix else "")
    for name, code in section.codes.items():
        yield f"| `{name}` | {_subject(code.means)}{code.means} |" + (f" {code.fix or '-'} |" if with_fix else "")


def _subject(means: str) -> str:
    """Where a finding names the host's firewall before the meaning, the table does too."""
    return "a host's firewall " if means.startswith("drops ") else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the tables, or check them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; status 1 when they are out of date")
    before = TARGET.read_text(encoding="utf-8")
    made = text(before)
    if parser.parse_args(arguments).check:
        if before != made:
            sys.stderr.write(f"{TARGET} is out of date; run: {REGENERATE}\n")
            return 1
        return 0
    TARGET.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

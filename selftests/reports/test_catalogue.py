"""docs/requirements.md matches the catalogue and the tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from lab.requirements import CATALOGUE
from reports.catalogue import text
from selftests.reports.counts import musts

ROOT = Path(__file__).resolve().parents[2]


def test_the_document_is_up_to_date():
    """The requirements document matches the present catalogue and tests."""
    command = [sys.executable, "-m", "reports.catalogue", "--check"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stdout + done.stderr


def test_tests_are_listed_with_their_requirement():
    """An entry names the tests that assert it, or states that there are none yet."""
    document = text({"BCAST-01": ["tests/bcast/test_delivery.py::test_arrives"]})

    entry = document[document.index("### BCAST-01") : document.index("### BCAST-02")]
    assert "- Tests: `tests/bcast/test_delivery.py::test_arrives`" in entry
    assert "- Tests: none yet" in document[document.index("### BCAST-02") :]
    must, broadcast = len(musts("BCAST")), sum(one.area == "BCAST" for one in CATALOGUE.values())
    assert f"| BCAST | [Broadcast](#broadcast) | {must} | {broadcast - must} | 1 |" in document
    assert "| APP | [Applications over the overlay](#applications-over-the-overlay) (on demand) |" in document

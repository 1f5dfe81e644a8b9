"""
A commit's subject is read in a list of a hundred others.

    area, area: verb what changed        at most 72 characters
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SINCE = "7cc569e"
"""The rule is for what came after this commit."""
MOST = 72
SUBJECT = re.compile(r"[a-z0-9_.-]+(, [a-z0-9_.-]+)*: [a-z]\S* .*[^.]")


def wrong(subject: str) -> bool:
    """Whether a subject is too long, or is not `area: verb ...`."""
    return len(subject) > MOST or SUBJECT.fullmatch(subject) is None


def test_subjects_name_an_area_and_what_is_done() -> None:
    """Every subject is `area: verb ...` in at most 72 characters."""
    if subprocess.run(["git", "merge-base", "--is-ancestor", SINCE, "HEAD"], cwd=ROOT, capture_output=True).returncode:
        pytest.skip("this clone does not have the whole history: git fetch --unshallow")
    command = ["git", "log", "--no-merges", "--format=%s", f"{SINCE}^..HEAD"]
    subjects = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()

    assert subjects
    assert [subject for subject in subjects if wrong(subject)] == []


@pytest.mark.parametrize("subject", ["Fix the fence", "agent: Fix the fence", "agent: fix", f"agent: fix {'x' * 72}"])
def test_others_are_found(subject: str) -> None:
    """A subject without an area, with a capital, without an object or too long is found."""
    assert wrong(subject)

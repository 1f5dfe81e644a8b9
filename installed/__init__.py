"""
Overcast as a wheel installs it: the checkout's folders lie in this package, where only its own commands find them.

    overcast [PYTEST-OPTION...]      overcast doctor      overcast own DIR      pytest -p overcast.plugin DIR

Not here: anything that a checkout also needs.
"""

from __future__ import annotations

import sys
from pathlib import Path

TREE = Path(__file__).resolve().parent
RESULTS = "overcast-reports"
"""The folder for results, in the folder where it is run: what is installed stays as it is."""


def main() -> int:
    """Runs a command, a folder of the user's own tests, or the suite."""
    sys.path.insert(0, str(TREE))
    import pytest

    from lab.commands.main import COMMANDS
    from lab.commands.main import main as command
    from reports.__main__ import main as reports

    name, *rest = sys.argv[1:] or [""]
    results = f"--reports={RESULTS}"
    if name == "allure":
        return reports([name, results, *rest])
    if name in (*COMMANDS, "-h", "--help"):
        of_a_run = name == "bundle" and not any(word.startswith("--hosts") for word in rest)
        return command([name, *([results] if of_a_run else []), *rest])
    settings = ["-c", str(TREE / "pytest.ini"), f"--rootdir={TREE}", "-p", "no:cacheprovider", results]
    if name == "own" and rest:
        return int(pytest.main([*settings, "-p", "conftest", *rest]))
    words = [str(TREE / word) if word.startswith("tests/") else word for word in sys.argv[1:]]
    whole = [] if any(word.startswith(str(TREE)) for word in words) else [str(TREE / "tests")]
    return int(pytest.main([*settings, *words, *whole]))

"""
`./overcast allure`: renders the Allure results of the last run with the program `allure`, as a page to open.

    reports/allure-results/  --allure generate-->  reports/allure-report/
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from lab.errors import EnvironmentProblem, UsageProblem
from reports.files.destination import ALLURE_FILE, ALLURE_FOLDER

PROGRAM = "allure"
RENDERED = "allure-report"
INSTALL = "npm install --global allure"
PAGE = "index.html"
HISTORY = "allure-history.jsonl"
"""What Allure keeps of each rendering, for the trend of a test over the runs."""


def render(reports: Path) -> Path:
    """Render the results in a folder of results; return the page."""
    results, target = reports / ALLURE_FOLDER, reports / RENDERED
    if not results.is_dir() or not any(ALLURE_FILE.fullmatch(path.name) for path in results.iterdir()):
        raise UsageProblem(f"{results} has no Allure results; expected those of a run", remedy="./overcast")
    program = shutil.which(PROGRAM)
    if program is None:
        raise EnvironmentProblem(
            f"the program {PROGRAM} is not installed; {results} has results for it", remedy=_installing()
        )
    if (target / PAGE).exists():  # rendered before; another folder of that name is left to the program
        shutil.rmtree(target)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as settings:
        json.dump({"name": "Overcast", "historyPath": str((reports / HISTORY).resolve())}, settings)
        settings.flush()
        command = [program, "generate", str(results), "--output", str(target), "--config", settings.name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not (target / PAGE).exists():
        said = (done.stderr.strip() or done.stdout.strip() or "it printed nothing").splitlines()[-1]
        raise EnvironmentProblem(f"{program} generate ended with status {done.returncode}: {said}")
    return target / PAGE


def _installing() -> str:
    """Return the command that brings the program: it comes from npm, which comes with Node."""
    return INSTALL if shutil.which("npm") else f"sudo apt-get install npm && sudo {INSTALL}"

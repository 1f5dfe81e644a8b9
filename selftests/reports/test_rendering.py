"""
The last run as Allure shows it.

    ./overcast allure --> python -m reports allure --> allure generate
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from reports.__main__ import main

PROGRAM = """#!{python}
import json, pathlib, sys
assert sys.argv[1] == "generate" and sys.argv[3::2] == ["--output", "--config"], sys.argv
if "broken" in sys.argv[2]:
    sys.exit("no results understood")
target = pathlib.Path(sys.argv[4])
target.mkdir()
target.joinpath("index.html").write_text(sys.argv[2])
history = json.loads(pathlib.Path(sys.argv[6]).read_text())["historyPath"]
open(history, "a").write("rendered\\n")
"""


@pytest.fixture
def results(tmp_path):
    """A folder with an Allure result."""
    return _results(tmp_path / "reports")


def _results(folder: Path) -> Path:
    (folder / "allure-results").mkdir(parents=True)
    (folder / "allure-results" / "01298f83-d24d-41c0-bbe7-a95e2bbd4573-result.json").write_text("{}")
    return folder


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A program that is called as allure is, first in PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "allure").write_text(PROGRAM.format(python=sys.executable))
    (folder / "allure").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.mark.usefixtures("program")
def test_the_page_is_rendered_and_rendered_again(results, capsys):
    """The page of the last run replaces the one of the run before."""
    for _ in range(2):
        assert main(["allure", f"--reports={results}"]) == 0

    page = results / "allure-report" / "index.html"
    assert page.read_text() == str(results / "allure-results")
    assert (results / "allure-history.jsonl").read_text() == "rendered\n" * 2
    assert f"{page}\n  to read it: allure open {page.parent}\n" in capsys.readouterr().out


@pytest.mark.parametrize("npm", [True, False])
def test_without_the_program_the_command_that_brings_it_is_named(results, tmp_path, monkeypatch, capsys, npm):
    """Where allure is missing, nothing is rendered; the message has the command, also where npm is missing."""
    tools = tmp_path / "bin"
    tools.mkdir()
    if npm:
        shutil.copy("/bin/true", tools / "npm")
    monkeypatch.setenv("PATH", str(tools))

    assert main(["allure", f"--reports={results}"]) == 2

    said = capsys.readouterr().err
    assert "the program allure is not installed" in said
    fix = "npm install --global allure"
    assert said.endswith(f"fix: {fix}\n" if npm else f"fix: sudo apt-get install npm && sudo {fix}\n")
    assert not (results / "allure-report").exists()


@pytest.mark.usefixtures("program")
def test_a_program_that_fails_is_quoted(tmp_path, capsys):
    """What allure printed last is in the message."""
    assert main(["allure", f"--reports={_results(tmp_path / 'broken')}"]) == 2

    assert "allure generate ended with status 1: no results understood" in capsys.readouterr().err


def test_without_results_there_is_nothing_to_render(tmp_path, capsys):
    """A folder without Allure results is named, and what makes some."""
    assert main(["allure", f"--reports={tmp_path}"]) == 2

    assert "has no Allure results" in capsys.readouterr().err

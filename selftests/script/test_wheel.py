"""
A wheel has the checkout's folders in one package, and what it brings runs from any folder.

    pip wheel . ─▶ overcast-conformance.whl ─▶ site-packages/overcast/{lab,fixtures,reports,tests}
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("installed", "lab", "fixtures", "reports", "tests", "conftest.py", "pytest.ini", "pyproject.toml")
DESCRIBED = ("README.md", "LICENSE")

pytest.importorskip("hatchling", reason="hatchling is missing: .venv/bin/pip install -r requirements-dev.lock")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that stands for site-packages."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    listed = subprocess.run(
        ["git", "ls-files", *PARTS, *DESCRIBED], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    built = [*pip, "wheel", "--no-build-isolation", "--no-deps", "--no-index", "-w", str(folder), str(source)]
    subprocess.run(built, check=True, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    subprocess.run(
        [*pip, "install", "--no-deps", "--no-index", "--target", str(folder / "site"), str(wheel)], check=True
    )
    return folder / "site"


def overcast(installed: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The output of the installed command, run in a folder."""
    command = [sys.executable, "-c", "import overcast; raise SystemExit(overcast.main())", *words]
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_one_package_is_installed(installed: Path) -> None:
    """Nothing but the package `overcast`, its metadata and its command lies in site-packages."""
    names = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert names == {"overcast", "bin"}


def test_the_suite_runs_from_any_folder(installed: Path, tmp_path: Path) -> None:
    """Tests run by the installed command write their results to the folder where it was run."""
    done = overcast(installed, tmp_path, "--tunnel=vxlan", "--kernel=host", "tests/hub")

    assert done.returncode == 10, done.stdout + done.stderr
    result = json.loads((tmp_path / "overcast-reports" / "conformance.json").read_text())
    assert {one["outcome"] for one in result["requirements"] if one["id"] == "HUB-01"} == {"passed"}


@pytest.mark.parametrize("how", ["own", "plugin"])
def test_a_users_own_tests_run(installed: Path, tmp_path: Path, how: str) -> None:
    """A folder of the user's own tests runs by the command, and by the user's pytest with the plugin."""
    shutil.copytree(ROOT / "examples" / "publisher", tmp_path / "mine")
    given = ["--tunnel=vxlan", "--kernel=host"]
    if how == "own":
        done = overcast(installed, tmp_path, "own", "mine", *given)
    else:
        environment = {**os.environ, "PYTHONPATH": str(installed)}
        command = [sys.executable, "-m", "pytest", "-p", "overcast.plugin", "mine", *given]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_a_command_runs(installed: Path, tmp_path: Path) -> None:
    """The commands are the checkout's."""
    done = overcast(installed, tmp_path, "plan", "--hub=10.1.0.4", "--spokes=10.1.0.5", "--format=shell")

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "overlay-files" / "README.md").exists()


def test_a_run_is_bundled_where_it_ran(installed: Path, tmp_path: Path) -> None:
    """The bundle of an installed command is that of the last run in the folder."""
    broken = overcast(
        installed, tmp_path, "--tunnel=vxlan", "--kernel=host", "--inject=port-detached", "tests/broadcast"
    )
    assert broken.returncode == 1, broken.stdout + broken.stderr

    packed = overcast(installed, tmp_path, "bundle")
    explained = overcast(installed, tmp_path, "explain", "overcast-bundle.tar.gz")

    assert packed.returncode == 0, packed.stderr
    assert "port-not-bridged" in explained.stdout

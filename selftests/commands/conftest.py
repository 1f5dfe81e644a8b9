"""A checkout of its own for the commands, so that a lab that the developer keeps up in this one is left alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 20.0  # seconds
MACHINES = {"host": "vxlan", "guest": "gretap"}


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    output: str
    errors: str


@dataclass(frozen=True)
class Checkout:
    """A copy of the library; `run` is `./overcast` without its set-up."""

    path: Path

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "lab", *arguments]

    def run(self, *arguments: str, typed: str = "", **environment: str) -> Done:
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.path,
            input=typed,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env={**os.environ, **environment},
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The copy."""
    path = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "lab", path / "lab", ignore=shutil.ignore_patterns("__pycache__"))
    return Checkout(path)

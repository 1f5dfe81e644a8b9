"""
A checkout made for a test: the real entry script, and a lock of one wheel, a `pytest` that prints how it was called.

No network is used, and the packages of this machine are left alone.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = os.path.realpath(sys.executable)
SETTING_UP = "overcast: setting up .venv"
NOBODY = 65534
IS_ROOT = os.geteuid() == 0

TELLS_HOW_IT_WAS_CALLED = """
import os, signal, sys
print("pytest", sys.argv[1:], "in", os.getcwd())
if "SHOWS_SIGNALS" in os.environ:
    print("blocked:", *sorted(number.name for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())))
if "SHOWS_CACHES" in os.environ:
    print("writes byte code:", not sys.dont_write_bytecode)
sys.exit(int(os.environ.get("FAILS_ON_" + (sys.argv + [""])[1].strip("-").upper(), 0)))
"""


class Checkout:
    """A folder with the real script and what little it needs around it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "lab").mkdir(parents=True)
        (path / "lab" / "__main__.py").write_text("import os, sys\nprint('lab', sys.argv[1:], 'in', os.getcwd())\n")
        shutil.copy(ROOT / "overcast", path)
        self.lock = path / "requirements.lock"
        self.pin(write_wheel(path))

    def pin(self, wheel: Path, digest: str | None = None) -> None:
        """Write the lock, by default with the hash that the wheel has."""
        digest = digest or hashlib.sha256(wheel.read_bytes()).hexdigest()
        self.lock.write_text(f"--no-index\n--find-links {wheel.parent.as_uri()}\npytest==0 --hash=sha256:{digest}\n")

    @property
    def stamp(self) -> Path:
        """What a set-up that was finished leaves."""
        return self.path / ".venv" / "overcast-stamp"

    def start(
        self, *args: str, program: Path | None = None, cwd: Path | None = None, **env: str
    ) -> subprocess.Popen[str]:
        """
        Start the script away from the machine's own pip settings, as the leader of its process group.

        It finds one processor: `nproc` prints OMP_NUM_THREADS.
        """
        return subprocess.Popen(
            [program or self.path / "overcast", *args],
            cwd=cwd or "/",
            env={"PATH": os.environ["PATH"], "OVERCAST_APT": "no", "OVERCAST_PYTHON": PYTHON,
                 "PIP_CONFIG_FILE": os.devnull, "OMP_NUM_THREADS": "1", **env},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip

    def run(self, *args: str, program: Path | None = None, cwd: Path | None = None, **env: str) -> Outcome:
        """Run the script to its end."""
        return Outcome(self.start(*args, program=program, cwd=cwd, **env))


class Outcome:
    """How a run of the script ended; its lines about this machine's packages are not examined here."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.out, errors = process.communicate(timeout=60)
        self.status = process.returncode
        self.said = [line for line in errors.splitlines() if "not installed" not in line]


def write_wheel(folder: Path) -> Path:
    """Write a wheel whose module `pytest` prints its arguments; offline, and as good as any to pip."""
    files = {
        "pytest.py": TELLS_HOW_IT_WAS_CALLED,
        "pytest-0.dist-info/METADATA": "Metadata-Version: 2.1\nName: pytest\nVersion: 0\n",
        "pytest-0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(text)}\n"
    wheel = folder / "wheels" / "pytest-0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in {**files, "pytest-0.dist-info/RECORD": record + "pytest-0.dist-info/RECORD,,\n"}.items():
            archive.writestr(name, text)
    return wheel


@pytest.fixture
def fresh(tmp_path: Path) -> Checkout:
    """A checkout in which nothing was set up."""
    return Checkout(tmp_path / "checkout")


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout that was set up by a first run, in a path with spaces, under sudo when this is root."""
    checkout = Checkout(tmp_path_factory.mktemp("set up") / "a checkout")
    first = checkout.run("-q", **({"SUDO_UID": "1234", "SUDO_GID": "1235"} if IS_ROOT else {}))
    assert first.status == 0, first.said
    assert len(first.said) == 1, first.said
    assert first.said[0].startswith(SETTING_UP)
    return checkout

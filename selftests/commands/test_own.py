"""`./overcast own DIR`: a user's own tests run on the lab, and end with what is wrong."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lab.machines.base import ROOT

EXAMPLE = ROOT / "examples" / "publisher"


def own(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As the script runs it."""
    command = [sys.executable, "-m", "pytest", "-c", "pytest.ini", "--rootdir", ".", "-p", "conftest", str(folder)]
    return subprocess.run(
        [*command, "-q", "-p", "no:cacheprovider", "--tunnel=vxlan", *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_example_passes() -> None:
    """The publisher's tests pass on a lab with an overlay."""
    done = own(EXAMPLE)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


@pytest.mark.parametrize(("example", "needs"), [("cluster", "corosync"), ("discovery", "avahi-daemon")])
def test_the_examples_with_real_programs_pass(example: str, needs: str) -> None:
    """Corosync forms a cluster, and avahi's name is found, over the overlay; without a way to a spoke they fail."""
    if shutil.which(needs, path="/usr/sbin:/usr/bin") is None:
        pytest.skip(f"{needs} is missing: apt-get install --no-install-recommends {needs}")
    before = set(Path("/dev/shm").iterdir())
    whole = own(EXAMPLE.with_name(example))
    cut = own(EXAMPLE.with_name(example), "--inject=port-detached")

    assert whole.returncode == 0, whole.stdout
    assert cut.returncode == 1, cut.stdout
    assert "fix (hub): ip link set vxlan2 master bridge0" in cut.stdout
    assert {path.name for path in Path("/dev/shm").iterdir() if path not in before and needs in path.name} == set()


def test_a_folder_anywhere_will_do(tmp_path: Path) -> None:
    """A folder outside of the checkout has the fixtures too, also when it is called as the suite's."""
    (folder := tmp_path / "tests").mkdir()
    (folder / "test_mine.py").write_text(
        "def test_it(overlay):\n    assert overlay.others('hub') == ['spoke1', 'spoke2']\n"
    )
    done = own(folder)
    assert done.returncode == 0, done.stdout


def test_a_broken_overlay_is_named_with_its_fix() -> None:
    """If the application receives nothing because of the overlay, the run ends with the cause and the fix."""
    done = own(EXAMPLE, "--inject=port-detached")
    assert done.returncode == 1
    assert "port-not-bridged: hub vxlan2, the tunnel to spoke2, is not a port of bridge0" in done.stdout
    assert "fix (hub): ip link set vxlan2 master bridge0\n    caused 3 test failures" in done.stdout

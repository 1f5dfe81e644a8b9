"""What a reboot leaves of an overlay, by the files of a host: which files a boot uses, and what they say."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

from lab.agent import boot_files
from lab.checkup import boot_persistence
from lab.checkup.check import Check
from lab.machines.hosts import HostSpec
from selftests.checkup.boot_states import NODE, PLAN, STATES, State

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a host's files of its own need root: run with sudo")

OWN = ("/etc", "/usr/local/sbin", "/var/spool", "/run")
NOBODY = 65534


def persistence(state: State, directory: Path) -> Check:
    """The check of a host that has these files, and no others."""
    lines = ["set -e", *(f"mount -t tmpfs -o mode=755 own {folder}" for folder in OWN), "who=root"]
    for number, (path, text) in enumerate(state.files.items()):
        (directory / str(number)).write_text(text)
        mode = "755" if text.startswith("#!") else "644"
        lines += [f"mkdir -p {PurePosixPath(path).parent}", f"install -m {mode} {directory}/{number} {path}"]
    wants = "/etc/systemd/system/multi-user.target.wants"
    lines += [f"mkdir -p {wants}", *(f"ln -s ../{unit} {wants}/{unit}" for unit in state.enabled), state.done]
    # a copy, for who may not come to this checkout
    found = f"runpy.run_path('/run/agent.py')['naming']({boot_persistence.words(PLAN, NODE)!r})"
    asked = f"import json, runpy; print(json.dumps({found}))"
    lines += [
        f"cp {boot_files.__file__} /run/agent.py",
        f"set -- {os.path.realpath(sys.executable)} -c {shlex.quote(asked)}",
    ]
    lines += [f'[ $who = root ] || set -- setpriv --reuid {NOBODY} --clear-groups "$@"', 'exec "$@"']
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", "\n".join(lines)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return boot_persistence.check(HostSpec(1, "spoke1", "spoke1"), PLAN, NODE, json.loads(done.stdout), "")


@pytest.mark.parametrize("name", STATES)
def test_what_a_boot_configures_is_reported(tmp_path: Path, name: str) -> None:
    """The files that a boot uses are named; for others the reason why it does not, or the difference, with the fix."""
    state = STATES[name]
    if lacking := [program for program in state.needs if not Path(program).exists()]:
        pytest.skip(
            f"{lacking[0]} is missing: apt-get install --no-install-recommends ifupdown network-manager systemd"
        )

    check = persistence(state, tmp_path)

    assert (check.state, state.found in check.found) == (state.state, True), check.found
    assert state.fix in (check.remedy or "")
    assert (check.remedy is None) == (state.state == "ok")

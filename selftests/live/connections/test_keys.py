"""
Keys that do not log in: the message names the key, and what is wrong with it.

    this process --ssh, in the cloud network-- hub, spoke1: an sshd each
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess

import pytest

from lab.machines.live import ssh_keys
from selftests.live.conftest import Reach
from selftests.live.connections.test_ssh import the_failure
from selftests.live.rig import Rig


def test_a_key_that_is_not_authorized(rig: Rig, reach: Reach) -> None:
    """A login that the host does not grant names the ways that it would."""
    spec = f"ssh://opc@hub?ssh_identity_file={rig.directory / 'other_key'}"
    config = rig.directory / "no_key"
    text = rig.inner_config.read_text()
    config.write_text(text.replace(f"    IdentityFile {rig.directory / 'user_key'}\n", ""))

    failure = the_failure(reach(f"{spec},spoke1?ssh_identity_file={rig.directory / 'user_key'}", config=config))

    assert failure.code == "permission-denied"
    assert "authentication failed (publickey)" in failure.message
    assert f"append {rig.directory / 'other_key'}.pub to opc's ~/.ssh/authorized_keys" in str(failure.remedy)


def test_a_key_with_a_passphrase(rig: Rig, reach: Reach, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that the host accepts is named if ssh cannot use it without a prompt; in an agent, it is used."""
    key, used = rig.directory / "locked_key", rig.directory / "user_key"
    shutil.copy(used, key)
    shutil.copy(used.with_suffix(".pub"), key.with_suffix(".pub"))
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "passphrase", "-f", key], check=True)
    config = rig.directory / "without_key"
    text = rig.inner_config.read_text().replace(f"    IdentityFile {used}\n", "")
    config.write_text(text.replace("    IdentityAgent none\n", ""))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    spec = f"hub?ssh_identity_file={key},spoke1?ssh_identity_file={used}"

    failure = the_failure(reach(spec, config=config))

    assert failure.code == "key-locked"
    assert f"ssh cannot use {key} without the passphrase" in failure.message
    assert failure.remedy == f'eval "$(ssh-agent)" && ssh-add {key}'

    socket = str(rig.directory / "agent")
    started = subprocess.run(["ssh-agent", "-s", "-a", socket], capture_output=True, text=True, check=True)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", socket)
        subprocess.run(["ssh-add", "-q", used], check=True)
        assert list(reach(spec, config=config).machines) == ["hub", "spoke1"]
        assert ssh_keys.locked(["ssh", "-F", str(config), "-i", str(key), "hub"]) == []
    finally:
        os.kill(int(started.stdout.partition("SSH_AGENT_PID=")[2].partition(";")[0]), signal.SIGTERM)


def test_a_key_that_others_can_read(rig: Rig, reach: Reach) -> None:
    """The fix is a command for the key that ssh ignores."""
    key = rig.directory / "open key"
    shutil.copy(rig.directory / "user_key", key)
    key.chmod(0o644)
    config = rig.directory / "open_key"
    config.write_text(rig.inner_config.read_text().replace(f"IdentityFile {rig.directory / 'user_key'}", "# none"))

    failure = the_failure(
        reach(f"hub?ssh_identity_file={key},spoke1?ssh_identity_file={rig.directory / 'user_key'}", config=config)
    )

    assert failure.code == "key-unprotected"
    assert failure.remedy == f"chmod 600 '{key}'"

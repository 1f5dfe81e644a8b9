"""What a reboot leaves of an overlay, by the files of a host: which files a boot uses, and what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from lab.boot import persistence, saved_rules
from lab.checkup import boot_checks
from lab.machines.live.hosts import HostSpec
from selftests.checkup.boot import boot_host
from selftests.checkup.boot.boot_states import NODE, PLAN, SEEN
from selftests.checkup.boot.boot_states import STATES as BY_TOOL
from selftests.checkup.boot.boot_states_branches import STATES as BY_BRANCH
from selftests.checkup.boot.boot_states_further import STATES as FURTHER
from selftests.checkup.boot.boot_states_netplan import STATES as BY_NETPLAN
from selftests.checkup.boot.boot_states_scripts import STATES as BY_SCRIPT
from selftests.checkup.boot.boot_states_sources import STATES as BY_SOURCE
from selftests.checkup.boot.boot_states_unmatched import STATES as UNMATCHED
from selftests.checkup.boot.boot_states_unused import STATES as UNUSED
from selftests.checkup.boot.boot_states_values import STATES as BY_VALUE

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a host's files of its own need root: run with sudo")

STATES = {**BY_TOOL, **UNMATCHED, **BY_SCRIPT, **BY_BRANCH, **BY_NETPLAN, **BY_VALUE, **BY_SOURCE, **FURTHER, **UNUSED}
ROOT = Path(__file__).parent.parent.parent.parent


def named(states: Sequence[Mapping[str, Any]], words: Sequence[str]) -> list[list[dict[str, Any]]]:
    """What the agent finds on a host in each state."""
    asked = json.dumps({"words": words, "states": states})
    command = [sys.executable, "-m", boot_host.__name__]
    before = own_files()
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert own_files() == before
    return [json.loads(line) for line in done.stdout.splitlines()]


def own_files() -> set[Path]:
    """What this machine has where the states put files."""
    return {path for folder in ("/usr/local/lib/systemd", "/etc/systemd", "/opt") for path in Path(folder).rglob("*")}


@pytest.fixture(scope="module")
def found() -> Mapping[str, list[dict[str, Any]]]:
    """What the agent finds on a host in each state."""
    states = [{"files": one.files, "enabled": one.enabled, "done": one.done} for one in STATES.values()]
    return dict(zip(STATES, named(states, persistence.words(PLAN, NODE)), strict=True))


@pytest.mark.parametrize(("prefix", "loaded"), [("", ["gre", "iptables"]), ("echo ", [])])
def test_a_script_that_adds_a_rule_is_named_for_the_firewall(prefix: str, loaded: list[str]) -> None:
    """A command of iptables in a script counts; a script that prints it does not."""
    files = {"/etc/rc.local": f"#!/bin/sh\n{prefix}iptables -A INPUT -p gre -j ACCEPT\n"}
    state = {"files": files, "enabled": (), "done": "true", "firewalls": True}
    (entries,) = named([state], saved_rules.words(PLAN))
    assert [word for entry in entries for word in entry["words"] if not entry["obstacle"]] == loaded


@pytest.mark.parametrize("name", STATES)
def test_what_a_boot_configures_is_reported(found: Mapping[str, list[dict[str, Any]]], name: str) -> None:
    """The files that a boot uses are named; for others the reason why it does not, or the difference, with the fix."""
    state = STATES[name]
    if lacking := [program for program in state.needs if not Path(program).exists()]:
        packages = "ifupdown netplan.io network-manager systemd"
        pytest.skip(f"{lacking[0]} is missing: apt-get install --no-install-recommends {packages}")

    check = boot_checks.overlay(HostSpec(1, "spoke1", "spoke1"), PLAN, NODE, found[name], "", SEEN)

    assert (check.state, state.found in check.found) == (state.state, True), check.found
    assert state.fix in (check.remedy or "")
    assert (check.remedy is None) == (state.state == "ok")

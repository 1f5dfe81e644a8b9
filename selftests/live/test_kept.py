"""
A multicast route without a file: the fix for now, and the one for good in the words of the tool that made the device.

    route gone from kernel and file ── doctor ──▶ fix, fix for good ── both run ──▶ nothing found, and a boot has it
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.boot import ifupdown, netplan, networkd, networkmanager
from lab.commands.main import main
from selftests.live import daemons
from selftests.live.rig import Rig
from selftests.live.test_boot import UNITS, made
from selftests.live.test_suite import run
from selftests.live.test_upgrades import ANSWERING, BUS

STRIPPED = {
    "networkd": f"sed -i /Destination/d {networkd.FOLDER}/*.network",
    "netplan": f"sed -i -E '/routes:|224.0.0.0|scope: link/d' {netplan.FILE} && netplan generate",
    "networkmanager": f"sed -i /^route1/d {networkmanager.FOLDER}/* && nmcli connection reload",
    "ifupdown": f"sed -i /224.0.0.0/d {ifupdown.FILE}",
}
"""What takes the route out of a tool's files."""


def doctor(rig: Rig, capsys: pytest.CaptureFixture[str], check: str) -> list[dict[str, str]]:
    """The doctor's lines of one kind about spoke1."""
    main(["doctor", f"--hosts={rig.specs}", f"--ssh-config={rig.ssh_config}", "--json"])
    checks = json.loads(capsys.readouterr().out)["checks"]
    return [one for one in checks if (one["role"], one["check"]) == ("spoke1", check)]


@pytest.mark.parametrize("tool", STRIPPED)
def test_the_route_is_kept_by_the_tool_that_made_the_device(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tool: str
) -> None:
    """The finding has both commands; once both ran, nothing is found, and a rehearsed boot makes the route."""
    (rig_files := tmp_path / "rig").mkdir()
    with made(tool, "star", rig_files) as (rig, plan, running):
        for name, host in rig.hosts.items():
            daemons.enable(host, UNITS.get(tool, UNITS["networkd"]))
            if tool == "netplan":
                daemons.cover(host, [f"{networkd.FOLDER}/drop-in"])
            daemon = running[name]
            if isinstance(daemon, daemons.Networkd):
                daemon.stop()
                daemons.shell(host, BUS)
                daemon.start()
                daemons.shell(host, ANSWERING.format("networkctl list"))
        host, device = rig.hosts["spoke1"], plan.node("spoke1").device
        daemons.shell(host, STRIPPED[tool])
        daemons.shell(host, f"ip route del {plan.multicast_route} dev {device}")

        (missing,) = doctor(rig, capsys, "multicast-route-missing")
        (lost,) = doctor(rig, capsys, "after a reboot")
        daemons.shell(host, missing["fix"].replace("sudo ", ""))
        daemons.shell(host, missing["fix_for_good"].replace("sudo ", ""))
        assert doctor(rig, capsys, "multicast-route-missing") == []
        (kept,) = doctor(rig, capsys, "after a reboot")
        _, result = run(rig, tmp_path / "reports", "--rehearse", "tests/persistence")

    assert missing["fix_for_good"]
    assert (lost["state"], lost["fix"]) == ("warning", missing["fix_for_good"])
    assert kept["state"] == "ok", kept
    outcomes = {one["id"]: one["outcome"] for one in result["requirements"]}
    assert (outcomes["BOOT-01"], outcomes["BOOT-04"]) == ("passed", "passed"), result["findings"]

"""
What no file has of an overlay: the fix for now, and the one for good in the words of the tool that manages the host.

    gone from kernel and files ── doctor ──▶ fix, fix for good ── both run ──▶ nothing found, and a boot makes it

    hub      a port without a file        spoke1   no multicast route, in no file        spoke2   no tunnel, no file
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.boot.formats import ifupdown, netplan, networkd, networkmanager, shell
from lab.checkup import boot_checks
from lab.commands.main import main
from selftests.live.persistence import daemons
from selftests.live.persistence.test_boot import UNITS, made
from selftests.live.persistence.test_upgrades import with_a_bus
from selftests.live.rig import Rig
from selftests.live.test_suite import run

STRIPPED = {
    "networkd": f"sed -i /Destination/d {networkd.FOLDER}/*.network",
    "netplan": f"sed -i -E '/routes:|224.0.0.0|scope: link/d' {netplan.FILE} && netplan generate",
    "networkmanager": f"sed -i /^route1/d {networkmanager.FOLDER}/* && nmcli connection reload",
    "ifupdown": f"sed -i /224.0.0.0/d {ifupdown.FILE}",
    "shell": f"sed -i /224.0.0.0/d {shell.SCRIPT}",
}
"""What takes the route out of a tool's files."""
EMPTIED = {
    "networkd": f"rm {networkd.FOLDER}/*",
    "netplan": f"echo 'network: {{version: 2}}' >{netplan.FILE} && chmod 600 {netplan.FILE} && netplan generate",
    "networkmanager": f"rm {networkmanager.FOLDER}/* && nmcli connection reload",
    "ifupdown": f"rm {ifupdown.FILE}",
    "shell": f"rm {shell.SCRIPT} {shell.UNIT}",
}
"""What removes a tool's files."""
BY_DEVICE = {"networkd": [f"{networkd.FOLDER}/50-"], "networkmanager": [f"{networkmanager.FOLDER}/overlay-"]}
"""Where a tool has a file for each device."""
LACKING = {"spoke1": "multicast-route-missing", "spoke2": "tunnel-missing"}


def doctor(rig: Rig, capsys: pytest.CaptureFixture[str]) -> dict[tuple[str, str], dict[str, str]]:
    """The doctor's lines about what is missing now and after a reboot, by host and check."""
    main(["doctor", f"--hosts={rig.specs}", f"--ssh-config={rig.ssh_config}", "--json"])
    checks = json.loads(capsys.readouterr().out)["checks"]
    return {(one["role"], one["check"]): one for one in checks if one["check"] in (*LACKING.values(), boot_checks.WHAT)}


@pytest.mark.parametrize("tool", STRIPPED)
def test_what_is_missing_is_added_for_good_by_the_tool(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tool: str
) -> None:
    """Each finding has both commands; once both ran, nothing is found, and a rehearsed boot makes the same overlay."""
    (rig_files := tmp_path / "rig").mkdir()
    with made(tool, "star", rig_files) as (rig, plan, running):
        device, port = plan.node("spoke1").device, plan.ports("hub")[0]
        for name, host in rig.hosts.items():
            daemons.enable(host, UNITS.get(tool, "overlay.service" if tool == "shell" else UNITS["networkd"]))
            if tool == "netplan":
                daemons.cover(host, [f"{networkd.FOLDER}/drop-in"])
            if isinstance(running[name], daemons.Networkd):
                with_a_bus(host, running[name], len(plan.devices(name)))
        daemons.shell(rig.hosts["spoke1"], f"{STRIPPED[tool]}\nip route del {plan.multicast_route} dev {device}")
        daemons.shell(rig.hosts["spoke2"], f"{EMPTIED[tool]}\nip link del {plan.node('spoke2').device} || true")
        # of the tools with a file for each device, those of a port and of its tunnel
        ports = " ".join(f"{files}{port}.*" for files in BY_DEVICE.get(tool, ()))
        daemons.shell(rig.hosts["hub"], f"rm {ports}" if ports else "true")

        found = doctor(rig, capsys)
        printed = of_the_suite(rig, tmp_path / "suite") if tool == "networkd" else {}
        for (name, check), one in found.items():
            if check in LACKING.values():
                run_as_root(rig, name, one["fix"])
                run_as_root(rig, name, one["fix_for_good"])
        run_as_root(rig, "hub", found["hub", boot_checks.WHAT]["fix"] if ports else "true")
        kept = doctor(rig, capsys)
        _, result = run(rig, tmp_path / "reports", "--rehearse", "tests/persistence")

    lasting = {name: found[name, code]["fix_for_good"] for name, code in LACKING.items()}
    assert printed == (lasting if tool == "networkd" else {})
    assert found["spoke1", boot_checks.WHAT]["fix"] == lasting["spoke1"]
    assert found["hub", boot_checks.WHAT]["state"] == ("warning" if ports else "ok")
    assert {check: one["state"] for check, one in kept.items()} == {
        (name, boot_checks.WHAT): "ok" for name in rig.hosts
    }
    outcomes = {one["id"]: one["outcome"] for one in result["requirements"]}
    assert (outcomes["BOOT-01"], outcomes["BOOT-04"]) == ("passed", "passed"), result["findings"]


def of_the_suite(rig: Rig, folder: Path) -> dict[str, str]:
    """The fixes for good that the suite prints with the same findings, each on a line of its own."""
    done, result = run(rig, folder, f"--hosts={rig.specs}", "--persistence", "tests/prerequisites")
    kept = {one["node"]: one["lasting"] for one in result["findings"] if one["code"] == LACKING.get(one["node"])}
    for name, command in kept.items():
        assert f"    fix for good ({name}): {command}\n" in done.stdout, done.stdout
    return kept


def run_as_root(rig: Rig, name: str, command: str) -> None:
    """Runs a fix on a host, where systemctl finds no system."""
    daemons.shell(rig.hosts[name], f"export SYSTEMD_OFFLINE=1\n{command.replace('sudo ', '')}")

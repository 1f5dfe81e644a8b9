"""
A boot rehearsed: the live hosts' files are booted in a lab, compared with the hosts, and put to the suite.

    live hosts (made by networkd, ...) ── pytest --hosts= --rehearse ──▶ their files in a lab ──▶ BOOT-04, verdict
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.boot import rehearsal
from lab.boot.daemons import FIREWALLD, TOOLS
from lab.boot.formats import firewalld, netplan, networkd, shell
from lab.boot.rehearsal import CopiedFiles, Failure
from lab.errors import EnvironmentProblem
from lab.stack import state
from reports.verdict.conformance import INCOMPLETE
from selftests.live.persistence import daemons
from selftests.live.persistence.test_boot import UNITS, held, made, topology
from selftests.live.rig import Rig
from selftests.live.test_suite import CONFIGURED_AND_DELIVERING, run

SAVED_RULES = """
mkdir -p /etc/systemd/system/multi-user.target.wants
touch /etc/systemd/system/multi-user.target.wants/nftables.service
cat >/run/saved.nft <<END
flush ruleset
table inet guard {
    chain input {
        type filter hook input priority 0; policy accept;
        udp dport 4789 drop
    }
}
END
mount --bind /run/saved.nft /etc/nftables.conf
"""
ANSWERS = (
    '<direct><rule ipv="ipv4" table="raw" chain="PREROUTING" priority="0">'
    "-i {device} -p icmp -j CT --notrack</rule></direct>"
)
"""The file of `firewalld.ANSWERS`."""
NOT_MADE = "a rehearsed boot does not make "


def rehearse(rig: Rig, folder: Path, *tests: str) -> tuple[int, dict[str, Any], str]:
    """Status, results and output of a rehearsal."""
    done, result = run(rig, folder, f"--hosts={rig.specs}", "--rehearse", *tests)
    assert result, done.stdout[-3000:] + done.stderr
    return done.returncode, result, done.stdout + done.stderr


def findings(result: dict[str, Any], code: str) -> list[tuple[str, str]]:
    return [(one["node"], one["summary"]) for one in result["findings"] if one["code"] == code]


@pytest.mark.parametrize("tool", ["networkd", "netplan", "networkmanager", "ifupdown", "shell"])
def test_files_that_last_are_conformant_after_a_rehearsed_boot(tmp_path: Path, tool: str) -> None:
    """The boot of the hosts' files makes what the hosts have; the suite holds on it, and the hosts are as before."""
    (rig_files := tmp_path / "rig").mkdir()
    tests = () if tool == "networkd" else (*CONFIGURED_AND_DELIVERING, "tests/persistence")
    with made(tool, "star", rig_files) as (rig, _, _):
        for host in rig.hosts.values():
            daemons.enable(host, UNITS.get(tool, "overlay.service"))
        before = state.fingerprint(rig.lab.nodes)
        status, result, said = rehearse(rig, tmp_path / "reports", *tests)
        assert state.fingerprint(rig.lab.nodes) == before

    assert status == (INCOMPLETE if tests else 0), said
    assert held(result), said
    assert result["findings"] == []
    assert result["environment"]["rehearsal"]


@pytest.mark.skipif(
    not daemons.installed(*TOOLS["netplan"].programs, *TOOLS["NetworkManager"].programs),
    reason="a tool is missing: apt-get install --no-install-recommends netplan.io network-manager dbus",
)
def test_files_of_netplan_for_networkmanager_are_rehearsed(tmp_path: Path) -> None:
    """If files of netplan name NetworkManager as the renderer, NetworkManager makes the overlay from them."""
    (rig_files := tmp_path / "rig").mkdir()
    with made("netplan", "star", rig_files) as (rig, _, _):
        for host in rig.hosts.values():
            daemons.enable(host, "NetworkManager.service")
            daemons.shell(host, f"sed -i 's/  version: 2/&\\n  renderer: NetworkManager/' {netplan.FILE}")
        _, result, said = rehearse(rig, tmp_path / "reports", "tests/persistence/test_rehearsal.py")

    (outcome,) = (one["outcome"] for one in result["requirements"] if one["id"] == "BOOT-04")
    assert outcome == "passed", said


def test_a_tunnel_without_a_file_is_missing_after_the_boot(tmp_path: Path) -> None:
    """What was made by hand is missing after the boot: one finding, and the suite is red on what the boot makes."""
    (rig_files := tmp_path / "rig").mkdir()
    with made("networkd", "star", rig_files) as (rig, plan, _):
        for host in rig.hosts.values():
            daemons.enable(host, UNITS["networkd"])
        device = plan.node("spoke1").device
        daemons.shell(rig.hosts["spoke1"], f"rm {networkd.FOLDER}/50-{device}.netdev")
        status, result, said = rehearse(rig, tmp_path / "reports", *CONFIGURED_AND_DELIVERING, "tests/persistence")

    assert status == 1, said
    ((host, summary),) = [one for one in findings(result, "lost-at-boot") if one[1].startswith(NOT_MADE)]
    assert (host, summary) == ("spoke1", f"{NOT_MADE}{device}")
    assert ("spoke1", "tunnel-missing") in {(one["node"], one["code"]) for one in result["findings"]}, said


@pytest.mark.parametrize(
    ("tool", "edited", "booted"),
    [
        (
            "networkd",
            f"sed -i s/MTUBytes=.*/MTUBytes=1400/ {networkd.FOLDER}/*.netdev",
            ("mtu 1400", "now: 8950"),
        ),
        ("shell", f"sed -i 's/ id [0-9]*/ id 77/' {shell.SCRIPT}", ("vni 77", "now: 1")),
    ],
    ids=["networkd", "shell"],
)
def test_a_file_that_differs_from_the_kernel_is_named(
    tmp_path: Path, tool: str, edited: str, booted: tuple[str, ...]
) -> None:
    """A file that was changed since makes another overlay at the next boot; the finding has both values."""
    (rig_files := tmp_path / "rig").mkdir()
    with made(tool, "star", rig_files) as (rig, plan, _):
        for host in rig.hosts.values():
            daemons.enable(host, UNITS.get(tool, "overlay.service"))
        daemons.shell(rig.hosts["spoke1"], edited)
        status, result, said = rehearse(rig, tmp_path / "reports", "tests/persistence")

    assert status == 1, said
    device = plan.node("spoke1").device
    differing = findings(result, "boot-file-differs")
    assert [host for host, _ in differing] == ["spoke1"], said
    assert all(word in differing[0][1] for word in (device, *booted)), differing


@pytest.mark.parametrize(
    ("tool", "path", "text"),
    [
        ("networkd", f"{networkd.FOLDER}/10-nic.network", "[Match]\\nName=ens3\\n[Network]\\nDHCP=yes\\n"),
        ("ifupdown", "/etc/network/interfaces.d/nic", "auto ens3\\niface ens3 inet dhcp\\n"),
    ],
    ids=["networkd", "ifupdown"],
)
def test_a_nic_that_is_configured_by_dhcp_keeps_its_address(tmp_path: Path, tool: str, path: str, text: str) -> None:
    """A lab has no DHCP server: the NIC has the address of the live host, and the boot makes the overlay over it."""
    (rig_files := tmp_path / "rig").mkdir()
    with made(tool, "star", rig_files) as (rig, _, _):
        for host in rig.hosts.values():
            daemons.enable(host, UNITS[tool])
            daemons.shell(host, f"printf '{text}' >{path}")
        status, result, said = rehearse(rig, tmp_path / "reports", *CONFIGURED_AND_DELIVERING, "tests/persistence")

    assert status == INCOMPLETE, said
    assert held(result), said


@pytest.mark.skipif(not Path("/etc/nftables.conf").exists(), reason="nft is missing: apt-get install nftables")
def test_jobs_of_cron_and_saved_rules_are_booted(tmp_path: Path) -> None:
    """A script that cron runs at boot makes the overlay; saved rules that drop tunnel packets turn the suite red."""
    (rig_files := tmp_path / "rig").mkdir()
    job, tests = "/etc/cron.d/overlay", (*CONFIGURED_AND_DELIVERING, "tests/persistence")
    with made("shell", "star", rig_files) as (rig, _, _):
        for host in rig.hosts.values():
            daemons.put(host, {job: f"@reboot root {shell.SCRIPT} up\n"})
            daemons.shell(host, f"rm {shell.UNIT}")
            daemons.enable(host, "cron.service")
        status, result, said = rehearse(rig, tmp_path / "cron", *tests)
        daemons.shell(rig.hosts["spoke1"], SAVED_RULES)
        closed, red, _ = rehearse(rig, tmp_path / "rules", *tests)

    assert (status, held(result)) == (INCOMPLETE, True), said
    assert "not rehearsed on any host: kernel modules" in said
    assert closed == 1
    assert "tunnel-packets-dropped" in {one["code"] for one in red["findings"] if one["node"] == "spoke1"}, red[
        "findings"
    ]


@pytest.mark.skipif(
    not daemons.installed(FIREWALLD, "/usr/bin/dbus-daemon", "/usr/sbin/nft"),
    reason="firewalld is missing: apt-get install --no-install-recommends firewalld dbus",
)
def test_firewalld_is_started_with_its_permanent_configuration(tmp_path: Path) -> None:
    """Its default zone drops tunnel packets after the boot, though none runs now; the files of `plan` accept them."""
    (rig_files := tmp_path / "rig").mkdir()
    with made("networkd", "star", rig_files) as (rig, plan, _):
        for host in rig.hosts.values():
            daemons.enable(host, UNITS["networkd"], "firewalld.service")
            daemons.shell(host, "mount -t tmpfs -o mode=755 own /etc/firewalld")
        closed, red, said = rehearse(rig, tmp_path / "closed", *CONFIGURED_AND_DELIVERING, "tests/persistence")
        for name, host in rig.hosts.items():
            answers = ANSWERS.format(device=plan.node(name).device)
            files = {**firewalld.files(plan, plan.node(name)), "/etc/firewalld/direct.xml": answers}
            daemons.shell(host, "tar -x -C /", stdin=daemons.packed(files))
        opened, green, said_then = rehearse(rig, tmp_path / "open", *CONFIGURED_AND_DELIVERING, "tests/persistence")

    assert closed == 1, said
    dropping = {one["node"] for one in red["findings"] if one["code"] == "tunnel-packets-dropped"}
    assert dropping == {"hub", "spoke1", "spoke2"}, red["findings"]
    assert (opened, held(green), green["findings"]) == (INCOMPLETE, True, []), said_then


@pytest.mark.parametrize(
    ("step", "unloaded"),
    [("nft", True), ("iptables", True), ("systemd-networkd", False), ("/sbin/own: nft failed in the rehearsal", False)],
)
def test_a_firewall_that_does_not_start_leaves_the_boot_unproved(step: str, unloaded: bool) -> None:
    """Where a firewall failed in the lab, its rules were not tried; other failures show in the overlay."""
    failed = Failure("spoke1", step, "no such file")
    assert rehearsal.unloaded([failed]) == (str(failed) if unloaded else "")


@pytest.mark.parametrize(("zone", "option"), [("trusted", "--zone=trusted "), ("", "")])
def test_firewalld_has_the_nic_in_the_zone_of_its_connection(zone: str, option: str) -> None:
    """A connection, or ifcfg file, gives the NIC its zone at boot; in a lab, which leaves the NIC alone, a command."""
    plan = topology("star").node("spoke1")
    files = [{"path": "/etc/firewalld/firewalld.conf", "tool": "firewalld", "text": ""}]
    own = {"device": plan.nic, "zone": zone, "path": "/etc/nic", "doubt": ""}
    command = f"firewall-cmd {option}--change-interface={plan.nic}"
    assert command in rehearsal.boot_script(CopiedFiles(files, [], [own]), plan)
    assert command not in rehearsal.boot_script(CopiedFiles(files, [], [{**own, "device": "x"}]), plan)
    assert command not in rehearsal.boot_script(CopiedFiles([], [], [own]), plan)


BY_MANAGER = "network: {version: 2, renderer: NetworkManager}\n"


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_that_is_not_installed_here_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Where a host's tool is missing on this machine, the error has the command that installs it."""
    monkeypatch.setitem(TOOLS, name, replace(TOOLS[name], programs=("/nowhere/tool",)))
    copied = CopiedFiles([{"path": "/etc/tool", "tool": name, "text": ""}], [])

    with pytest.raises(EnvironmentProblem, match=f"spoke1 boots by {name}, which is not installed here") as lack:
        rehearsal.require("spoke1", copied)

    assert lack.value.remedy == f"sudo apt-get install --no-install-recommends {TOOLS[name].package}"


@pytest.mark.parametrize(("text", "lacks"), [(BY_MANAGER, True), ("network: {version: 2}\n", False)])
def test_a_renderer_of_netplan_is_needed_too(monkeypatch: pytest.MonkeyPatch, text: str, lacks: bool) -> None:
    """If files of netplan name NetworkManager as the renderer, a rehearsal needs NetworkManager, and starts it."""
    copied = CopiedFiles([{"path": "/etc/netplan/50.yaml", "tool": "netplan", "text": text}], [])
    assert ("NetworkManager" in copied.tools) == lacks
    monkeypatch.setitem(TOOLS, "NetworkManager", replace(TOOLS["NetworkManager"], programs=("/nowhere/tool",)))
    wanted = pytest.raises(EnvironmentProblem, match="boots by NetworkManager") if lacks else contextlib.nullcontext()
    with wanted:
        rehearsal.require("spoke1", copied)

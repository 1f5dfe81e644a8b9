"""
firewalld: the files of `plan --firewall=firewalld` open it for the overlay, and what a boot forgets is reported.

    hub, spoke1, spoke2, each with a bus and a firewalld of its own, whose default zone rejects the tunnel packets
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.agent.firewall import firewalld as agent
from lab.boot.daemons import NETWORK_MANAGER
from lab.boot.formats import firewalld, networkmanager
from lab.model import Topology
from reports.verdict.conformance import INCOMPLETE
from selftests.live.persistence import daemons
from selftests.live.persistence.test_boot import held, made, topology
from selftests.live.persistence.test_saved_rules import doctor
from selftests.live.persistence.test_upgrades import ANSWERING, NM_STOPPED
from selftests.live.rig import Rig, RigHost
from selftests.live.test_suite import CONFIGURED_AND_DELIVERING, run

PROGRAM = "/usr/sbin/firewalld"
pytestmark = pytest.mark.skipif(
    not daemons.installed(PROGRAM, "/usr/bin/dbus-daemon", "/usr/sbin/nft"),
    reason="firewalld is missing: apt-get install --no-install-recommends firewalld dbus",
)
STARTED = f"""
mount -t tmpfs own /var/log
mount -t tmpfs -o mode=755 own /etc/firewalld
mkdir -p /run/dbus /etc/firewalld/policies /etc/firewalld/zones
[ -S /run/dbus/system_bus_socket ] || dbus-daemon --system --fork
tar -x -C /
{PROGRAM} >/dev/null 2>&1
timeout 30 sh -c 'until firewall-cmd --state; do :; done'
"""
NM_STARTED = f"""
{NM_STOPPED}
{NETWORK_MANAGER} --config=/run/nm.conf
{ANSWERING.format("nmcli -t general status | grep -q connected")}
"""
OPENED = "firewall-cmd --add-port=4789/udp && firewall-cmd --zone=trusted --add-interface={device}"


def start(host: RigHost, files: dict[str, str]) -> None:
    """Starts firewalld on a host, with these files."""
    daemons.shell(host, STARTED, stdin=daemons.packed(files))


@contextlib.contextmanager
def guarded(folder: Path, *, tool: str = "shell", written: bool = True) -> Iterator[tuple[Rig, Topology]]:
    """Hosts with firewalld, and an overlay that a tool has made; `written`: with the files for it."""
    folder.mkdir()
    with made(tool, "star", folder) as (rig, plan, _):
        for name, host in rig.hosts.items():
            start(host, firewalld.files(plan, plan.node(name)) if written else {})
        yield rig, plan


def persistence(rig: Rig, folder: Path) -> tuple[str, list[tuple[str, str]]]:
    """What BOOT-05 came to, and host and fix of each of its findings, which the doctor has, too."""
    checks = doctor(rig, folder.with_suffix(".json"))
    _, result = run(rig, folder, f"--hosts={rig.specs}", "tests/persistence", "--persistence")
    (outcome,) = (one["outcome"] for one in result["requirements"] if one["id"] == "BOOT-05")
    found = [one for one in result["findings"] if one["code"] == "firewall-lost-at-boot"]
    fixes = [(one["node"], one["remedy"]) for one in found]
    assert [(one["role"], one["fix"]) for one in checks if one["state"] == "warning"] == fixes
    assert [one["state"] for one in checks if one["state"] != "warning"] == ["ok"] * (3 * (outcome == "passed"))
    return outcome, fixes


def test_the_files_open_firewalld_for_the_overlay(tmp_path: Path) -> None:
    """Without the files firewalld rejects tunnel packets; with them the overlay delivers, also after a boot."""
    with guarded(tmp_path / "rig", written=False) as (rig, plan):
        closed, _ = run(rig, tmp_path / "closed", f"--hosts={rig.specs}", *CONFIGURED_AND_DELIVERING)
        for name, host in rig.hosts.items():
            daemons.shell(host, "tar -x -C /", stdin=daemons.packed(firewalld.files(plan, plan.node(name))))
            daemons.shell(host, firewalld.start(plan.node(name)))
        opened, result = run(rig, tmp_path / "opened", f"--hosts={rig.specs}", *CONFIGURED_AND_DELIVERING, "tests/icmp")
        kept = persistence(rig, tmp_path / "kept")

    assert closed.returncode == 1, closed.stdout
    assert opened.returncode == INCOMPLETE, opened.stdout[-3000:]
    assert held(result)
    assert result["findings"] == []
    assert kept == ("passed", [])


def test_a_rule_of_the_runtime_alone_is_lost_at_boot(tmp_path: Path) -> None:
    """What was added without --permanent delivers now and is a finding; its fix makes it last."""
    with guarded(tmp_path / "rig", written=False) as (rig, plan):
        for name, host in rig.hosts.items():
            daemons.shell(host, OPENED.format(device=plan.node(name).device))
        lost, found = persistence(rig, tmp_path / "lost")
        for name, fix in found:
            daemons.shell(rig.hosts[name], fix.replace("sudo ", ""))
        kept = persistence(rig, tmp_path / "kept")

    device = plan.node("spoke1").device
    assert lost == "failed"
    assert [fix for name, fix in found if name == "spoke1"] == [
        "sudo firewall-cmd --permanent --zone=public --add-port='4789/udp'",
        f"sudo firewall-cmd --permanent --zone=trusted --add-interface='{device}'",
    ]
    assert kept == ("passed", [])


@pytest.mark.skipif(
    not daemons.installed(NETWORK_MANAGER),
    reason="NetworkManager is missing: apt-get install --no-install-recommends network-manager dbus",
)
def test_the_zone_of_a_connection_counts_at_boot(tmp_path: Path) -> None:
    """
    NetworkManager puts a device into its connection's zone, and one without into the default zone, at each start.

    A zone of the runtime, or of firewalld's own files, is lost; the fix puts it into the connection.
    """
    with guarded(tmp_path / "rig", tool="networkmanager") as (rig, plan):
        for name, host in rig.hosts.items():
            device = plan.node(name).device
            # as firewalld's own files have it; NetworkManager has it in the default zone
            daemons.shell(host, f"firewall-cmd --zone=overlay --change-interface={device}")
        lost, found = persistence(rig, tmp_path / "lost")
        for name, fix in found:
            daemons.shell(rig.hosts[name], fix.replace("sudo ", ""))
        kept = persistence(rig, tmp_path / "kept")
        for name, host in rig.hosts.items():
            # firewalld's own files have it no longer
            daemons.shell(host, f"sed -i /interface/d {firewalld.FOLDER}/zones/{firewalld.ZONE}.xml")
            daemons.shell(host, f"firewall-cmd --reload\n{NM_STARTED}")
            daemons.shell(host, f"firewall-cmd --zone=overlay --query-interface={plan.node(name).device}")
        started = persistence(rig, tmp_path / "started")

    assert lost == "failed"
    assert [fix for name, fix in found if name == "spoke1"] == [
        "sudo nmcli connection modify overlay-vxlan1 connection.zone overlay"
    ]
    assert (kept, started) == (("passed", []), ("passed", []))


def test_what_firewalld_does_not_answer_is_not_judged(tmp_path: Path) -> None:
    """Without the right to ask firewalld, BOOT-05 did not run, with the reason; it is not passed."""
    with guarded(tmp_path / "rig") as (rig, _):
        unprivileged = ",".join(f"opc@{name}" for name in rig.hosts)
        done, result = run(rig, tmp_path / "r", f"--hosts={unprivileged}", "--persistence", "tests/persistence")
        checks = doctor(rig, tmp_path / "doctor.json", unprivileged)

    assert [(one["state"], one["fix"]) for one in checks] == [("warning", "--sudo")] * 3
    (one,) = (one for one in result["requirements"] if one["id"] == "BOOT-05")
    assert one["outcome"] == "not-run", done.stdout
    assert "firewalld's configuration cannot be determined" in one["reason"]


def test_a_listing_is_read_entry_by_entry() -> None:
    """Zones, kinds and rich rules of a listing."""
    text = "public (active)\n  target: default\n  protocols: gre esp\n  rich rules: \n\trule accept\n\nwork\n"
    assert list(agent._entries(text)) == [
        ("public", "target", "default"),
        ("public", "protocols", "gre"),
        ("public", "protocols", "esp"),
        ("public", "rich rules", "rule accept"),
    ]


def test_networkmanager_gives_the_device_its_zone() -> None:
    """The connection of the device with the overlay address is in the overlay's zone; a bridge's port is not."""
    plan = topology("star")
    written = networkmanager.zoned(networkmanager.files(plan, plan.hub), plan.hub, firewalld.ZONE)
    zoned = [path for path, text in written.items() if "\nzone=overlay\n" in text]
    assert zoned == [networkmanager._path(plan.hub.device)]

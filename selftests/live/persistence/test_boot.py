"""
What `overcast plan` writes makes a conformant overlay by the tool that it is written for, and what that tool forgets.

    plan ── files ──▶ hub, spoke1, spoke2: networkd, ifupdown or sh makes the overlay ── ssh ── pytest --hosts=
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.boot import common
from lab.boot.common import Files
from lab.boot.daemons import NETWORK_MANAGER, NETWORKD
from lab.boot.formats import ansible, cloud_init, ifupdown, netplan, networkd, networkmanager, shell
from lab.boot.persistence import ping
from lab.checkup import boot_checks
from lab.commands.main import main
from lab.errors import UsageProblem
from lab.machines.base import call
from lab.machines.node import Agent, ask_all
from lab.model import NodePlan, Topology, TunnelOptions
from lab.stack import state
from lab.stack.changes import link_set
from lab.topology import designs
from reports.verdict.conformance import INCOMPLETE
from selftests.live.conftest import on_this_kernel
from selftests.live.persistence import daemons
from selftests.live.rig import Rig, RigHost
from selftests.live.test_suite import CONFIGURED_AND_DELIVERING, run

yaml = pytest.importorskip("yaml", reason="PyYAML is missing: .venv/bin/pip install -r requirements-dev.lock")

MTU = 9000
WITHIN = 60.0  # seconds until a daemon has made everything, on a busy machine too; one in practice
IFUPDOWN = "ifupdown is not installed: apt-get install --no-install-recommends ifupdown"
NETPLAN = "netplan is not installed: apt-get install --no-install-recommends netplan.io"
NETWORKMANAGER = "NetworkManager is not installed: apt-get install --no-install-recommends network-manager dbus"
ANSIBLE = str(Path(sys.executable).with_name("ansible-playbook"))
SYSTEMD = f"there is no {NETWORKD}: apt-get install systemd"


def topology(name: str) -> Topology:
    spokes = 2 if name == "star" else 3
    return common.sized(designs.topology(name, spokes, TunnelOptions(kind="vxlan"), MTU), MTU)


def by_networkd(host: RigHost, node: NodePlan) -> daemons.Networkd:
    if not daemons.installed(NETWORKD):
        pytest.skip(SYSTEMD)
    return daemons.Networkd(host)


def by_netplan(host: RigHost, node: NodePlan) -> daemons.Networkd:
    if not daemons.installed("/usr/sbin/netplan", NETWORKD):
        pytest.skip(NETPLAN)
    daemons.shell(host, f"chmod 600 {netplan.FILE} && netplan generate")
    return daemons.Networkd(host)


def by_network_manager(host: RigHost, node: NodePlan) -> None:
    if not daemons.installed(NETWORK_MANAGER, "/usr/bin/dbus-daemon"):
        pytest.skip(NETWORKMANAGER)
    daemons.shell(host, f"chmod 600 {networkmanager.FOLDER}/*")
    daemons.network_manager(host, node.nic)


def by_ifupdown(host: RigHost, node: NodePlan) -> None:
    if not daemons.installed("/sbin/ifup"):
        pytest.skip(IFUPDOWN)
    daemons.shell(host, f"mkdir -p /run/network && ifup -i {ifupdown.FILE} {node.device}")


def by_shell(host: RigHost, node: NodePlan) -> None:
    daemons.shell(host, f"{shell.SCRIPT} up")


def of_cloud_init(plan: Topology, node: NodePlan) -> Files:
    """The files that cloud-init would write, by its own file."""
    text = cloud_init.files(plan, node)[cloud_init.FILE]
    assert text.startswith("#cloud-config\n")
    return {entry["path"]: entry["content"] for entry in yaml.safe_load(text)["write_files"]}


Tool = tuple[Callable[[Topology, NodePlan], Files], Callable[[RigHost, NodePlan], object]]
TOOLS: dict[str, Tool] = {
    "networkd": (networkd.files, by_networkd),
    "netplan": (netplan.files, by_netplan),
    "networkmanager": (networkmanager.files, by_network_manager),
    "ifupdown": (ifupdown.files, by_ifupdown),
    "shell": (shell.files, by_shell),
    "cloud-init": (of_cloud_init, by_shell),
}


@contextlib.contextmanager
def made(tool: str, shape: str, directory: Path) -> Iterator[tuple[Rig, Topology, dict[str, object]]]:
    """Hosts whose overlay the tool has made from its files alone, and what each runs for it."""
    plan = topology(shape)
    files, start = TOOLS[tool]
    with contextlib.ExitStack() as ending, on_this_kernel(directory, overlay=False, topology=plan, shared=True) as rig:
        running: dict[str, object] = {}
        for name, host in rig.hosts.items():
            node = plan.node(name)
            daemons.put(host, {**common.files(plan, node), **files(plan, node)})
            daemons.shell(host, f"sysctl -q -p {common.SYSCTLS}")
            running[name] = daemon = start(host, node)
            if isinstance(daemon, daemons.Networkd):
                ending.callback(daemon.stop)
        await_routes(rig, plan)
        yield rig, plan, running


def await_routes(rig: Rig, plan: Topology) -> None:
    """Returns when every host has its multicast route, which is made last."""
    deadline = time.monotonic() + WITHIN
    while lacking := [name for name in rig.hosts if not has_route(rig, plan, name)]:
        assert time.monotonic() < deadline, f"no multicast route on {', '.join(lacking)}"
        nodes = [rig.lab.nodes[name] for name in lacking]
        ask_all([(node, call(Agent.hello)) for node in nodes])


def has_route(rig: Rig, plan: Topology, name: str) -> bool:
    routes = rig.lab.nodes[name].read("routes")
    return any(route.dst == str(plan.multicast_route) and route.dev == plan.node(name).device for route in routes)


CASES = [(tool, shape) for tool in TOOLS for shape in ("star", "bridged", "mesh", "flood-list")]
LIMITED = ("netplan", "networkmanager")
UNSPEAKABLE = [case for case in CASES if case[0] in LIMITED and case[1] not in ("star", "bridged")]


@pytest.mark.parametrize(("tool", "shape"), [case for case in CASES if case not in UNSPEAKABLE])
def test_what_is_written_makes_a_conformant_overlay(tmp_path: Path, tool: str, shape: str) -> None:
    """The tool makes from the files alone what the suite finds conformant, without a finding."""
    (rig_files := tmp_path / "rig").mkdir()
    # all tests pass on a star with bridges, here; on the other shapes in `test_layouts` and `test_suite`
    tests = () if (tool, shape) == ("shell", "bridged") else CONFIGURED_AND_DELIVERING
    with made(tool, shape, rig_files) as (rig, _, _):
        done, result = run(rig, tmp_path / "reports", f"--hosts={rig.specs}", *tests)

    assert done.returncode == (INCOMPLETE if tests else 0), done.stdout[-3000:] + done.stderr
    assert held(result)
    assert result["findings"] == []


def held(result: dict[str, Any]) -> bool:
    """Whether every MUST that was put to the test holds, or does not apply."""
    came = {one["outcome"] for one in result["requirements"] if one["level"] == "MUST" and one["tests"]}
    return "passed" in came and came <= {"passed", "not-applicable"}


@pytest.mark.parametrize(("tool", "shape"), UNSPEAKABLE)
def test_what_a_tool_cannot_make_is_refused(tool: str, shape: str) -> None:
    """A shape that the tool cannot express is rejected with the formats that can."""
    plan = topology(shape)
    with pytest.raises(UsageProblem, match=f"does not support a {shape} overlay: use --format=networkd or shell"):
        TOOLS[tool][0](plan, plan.nodes[0])


@pytest.mark.parametrize("shape", ["star", "flood-list"])
def test_networkd_keeps_what_is_written(tmp_path: Path, shape: str) -> None:
    """Neither a link that goes down and up nor a restart of networkd loses the multicast route."""
    with made("networkd", shape, tmp_path) as (rig, plan, running):
        name = plan.spokes[0].name
        device = plan.node(name).device
        daemon = running[name]
        assert isinstance(daemon, daemons.Networkd)

        daemons.shell(rig.hosts[name], f"ip link set {device} down")
        assert not has_route(rig, plan, name)
        daemons.shell(rig.hosts[name], f"ip link set {device} up")
        await_routes(rig, plan)

        daemon.stop()
        daemon.start()
        await_routes(rig, plan)


@pytest.mark.parametrize("tool", ["networkd", "netplan", "networkmanager", "ifupdown", "shell"])
def test_a_lost_carrier_loses_nothing(tmp_path: Path, tool: str) -> None:
    """When a host's NIC loses its carrier and has it again, the overlay's devices, address and route are as before."""
    with made(tool, "star", tmp_path) as (rig, plan, _):
        host, nic, before = rig.hosts["spoke1"], plan.node("spoke1").nic, state.fingerprint(rig.lab.nodes)
        port = rig.lab.cloud.port_of("spoke1")
        with rig.lab.fabric.changed(link_set(port, up=False), link_set(port, up=True)):
            daemons.shell(host, f"ip -o link show {nic} | grep NO-CARRIER")
        rig.lab.fabric.ask(Agent.settle, devices=[port], timeout=WITHIN)
        await_routes(rig, plan)

        assert state.fingerprint(rig.lab.nodes) == before


def test_the_script_can_run_again(tmp_path: Path) -> None:
    """`overlay up` makes the same again, and `overlay down` leaves nothing of it."""
    with made("shell", "star", tmp_path) as (rig, plan, _):
        for name, host in rig.hosts.items():
            daemons.shell(host, f"{shell.SCRIPT} up")
            assert has_route(rig, plan, name)
            daemons.shell(host, f"{shell.SCRIPT} down")
            assert {link.name for link in rig.lab.nodes[name].read("links")} == {"lo", plan.node(name).nic}


@pytest.mark.skipif(not Path(ANSIBLE).exists(), reason="ansible is missing: pip install -r requirements-dev.lock")
def test_the_playbook_makes_a_conformant_overlay(tmp_path: Path) -> None:
    """Ansible makes the overlay on all hosts, from one folder; its second run changes nothing."""
    (rig_files := tmp_path / "rig").mkdir()
    plan, folder = topology("star"), tmp_path / "files"  # the playbook is the same for every shape
    with on_this_kernel(rig_files, overlay=False, topology=plan, shared=True) as rig:
        write("ansible", plan, folder)
        for name, host in rig.hosts.items():
            # what is in /etc itself would be this machine's
            (folder / name / common.FIREWALL.lstrip("/")).unlink()
            placed = [path for path in (folder / name).rglob("*") if path.is_file()]
            daemons.cover(host, [f"/{path.relative_to(folder / name)}" for path in placed])

        played = play(rig, folder)
        again = play(rig, folder)
        done, result = run(rig, tmp_path / "reports", f"--hosts={rig.specs}", *CONFIGURED_AND_DELIVERING)

    assert re.findall(r"changed=(\d+)", played) == ["2"] * len(rig.hosts), played
    assert re.findall(r"changed=(\d+)", again) == ["0"] * len(rig.hosts), again
    assert done.returncode == INCOMPLETE, done.stdout[-3000:] + done.stderr
    assert held(result)
    assert result["findings"] == []


def test_addresses_are_taken_from_live_hosts(tmp_path: Path) -> None:
    """With --hosts= the files have each host's own address and NIC, and the MTU that fits all of them."""
    (rig_files := tmp_path / "rig").mkdir()
    plan, folder = topology("star"), tmp_path / "files"
    with on_this_kernel(rig_files, overlay=False, topology=plan, shared=True) as rig:
        live = [f"--hosts={rig.specs}", f"--ssh-config={rig.ssh_config}"]
        daemons.shell(rig.hosts["spoke2"], "ip link set ens3 mtu 1500")
        assert main(["plan", *live, "--tunnel=vxlan", "--format=shell", "-o", str(folder)]) == 0

    script = (folder / "spoke1" / shell.SCRIPT.lstrip("/")).read_text()
    assert "mtu 1450 type vxlan " in script
    assert f"remote {plan.hub.endpoint} local {plan.node('spoke1').endpoint} " in script
    assert " dev ens3 " in script


def write(tool: str, plan: Topology, folder: Path) -> None:
    """What the command writes for the hosts of a rig, which are called as in the plan."""
    given = {"hub": plan.hubs, "spokes": plan.spokes}
    hosts = [
        f"--{option}={','.join(f'{node.name}={node.endpoint}' for node in nodes)}" for option, nodes in given.items()
    ]
    words = ["plan", *hosts, f"--topology={plan.name}", f"--tunnel={plan.options.kind}", f"--mtu={MTU}"]
    assert main([*words, f"--format={tool}", "-o", str(folder)]) == 0


def play(rig: Rig, folder: Path) -> str:
    """The output of ansible-playbook after the playbook."""
    # as root, whose home is this machine's, and without sudo, which need not be there
    values = json.dumps({"ansible_become": False, "ansible_remote_tmp": "/tmp/ansible"})
    way = ["--user=root", f"--ssh-common-args=-F {rig.ssh_config}", f"--extra-vars={values}"]
    words = [ANSIBLE, *shlex.split(ansible.START)[1:], *way]
    settings = {**os.environ, "ANSIBLE_PIPELINING": "1", "ANSIBLE_HOME": str(folder / ".ansible")}
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, env=settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def after_a_reboot(rig: Rig, capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, str]]:
    """The doctor's lines about each host's next boot."""
    main(["doctor", f"--hosts={rig.specs}", f"--ssh-config={rig.ssh_config}", "--json"])
    checks = json.loads(capsys.readouterr().out)["checks"]
    return {check["role"]: check for check in checks if check["check"] == boot_checks.WHAT}


UNITS = {
    "networkd": "systemd-networkd.service",
    "networkmanager": "NetworkManager.service",
    "ifupdown": "networking.service",
}


@pytest.mark.parametrize("tool", ["networkd", "netplan", "networkmanager", "ifupdown", "shell"])
def test_what_files_configure_is_reported_as_persistent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tool: str
) -> None:
    """The doctor names the files that name the devices and the multicast route, once what reads them is enabled."""
    with made(tool, "star", tmp_path) as (rig, _, _):
        for host in rig.hosts.values():
            daemons.enable(host, UNITS.get(tool, "overlay.service"))
        checks = after_a_reboot(rig, capsys)

    assert {check["state"] for check in checks.values()} == {"ok"}
    assert all("/etc/systemd/network/50-" in check["found"] for check in checks.values()) == (tool == "networkd")
    assert checks["spoke1"]["fix"] == ""


def persistence(rig: Rig, folder: Path) -> tuple[dict[str, str], set[str]]:
    """What the requirements of area BOOT came to, and the codes of the findings."""
    done, result = run(rig, folder, f"--hosts={rig.specs}", "--persistence", "tests/persistence")
    judged = {one["id"]: one["outcome"] for one in result["requirements"] if one["id"].startswith("BOOT-")}
    # without a rehearsal, without firewalld, and without rules of nft or iptables
    assert [judged.pop(identity) for identity in ("BOOT-04", "BOOT-05", "BOOT-06")] == ["not-applicable"] * 3
    assert judged, done.stdout[-3000:] + done.stderr
    return judged, {one["code"] for one in result["findings"]}


def test_the_suite_asserts_what_a_boot_makes(tmp_path: Path) -> None:
    """With --persistence, area BOOT holds where a boot makes the overlay, and fails for each part that it does not."""
    (rig_files := tmp_path / "rig").mkdir()
    with made("shell", "star", rig_files) as (rig, plan, _):
        for host in rig.hosts.values():
            daemons.enable(host, "overlay.service")
        whole = persistence(rig, tmp_path / "whole")
        daemons.shell(rig.hosts["spoke1"], f"rm {common.SYSCTLS}")
        daemons.shell(rig.hosts["spoke2"], f"sed -i s/{plan.hub.endpoint}/10.0.0.99/ {shell.SCRIPT}")
        daemons.enable(rig.hosts["hub"])
        broken = persistence(rig, tmp_path / "broken")
        (fix,) = [one.remedy for one in ping("spoke1", {})]
        daemons.shell(rig.hosts["spoke1"], fix.replace("sudo ", ""))
        fixed = persistence(rig, tmp_path / "fixed")

    assert whole == (dict.fromkeys(("BOOT-01", "BOOT-02", "BOOT-03"), "passed"), set())
    codes = {"boot-file-unused", "ping-lost-at-boot", "boot-file-differs"}
    assert broken == (dict.fromkeys(("BOOT-01", "BOOT-02", "BOOT-03"), "failed"), codes)
    assert fixed == ({**broken[0], "BOOT-02": "passed"}, codes - {"ping-lost-at-boot"})


def test_what_networkd_does_not_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files of networkd do not count where it is not enabled."""
    with made("networkd", "star", tmp_path) as (rig, _, _):
        for host in rig.hosts.values():
            daemons.enable(host)
        checks = after_a_reboot(rig, capsys)["spoke1"]

    assert checks["state"] == "warning"
    assert (
        "50-vxlan1.netdev, /etc/systemd/network/50-vxlan1.network: systemd-networkd.service is not enabled"
        in checks["found"]
    )
    assert checks["fix"] == "sudo systemctl enable systemd-networkd.service"


def test_what_is_made_by_hand_is_reported_as_lost_at_boot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A device and a route that no file names are gone after a reboot; the fix writes files for it."""
    with made("shell", "star", tmp_path) as (rig, plan, _):
        for host in rig.hosts.values():
            daemons.shell(host, f"rm {shell.UNIT}")
            daemons.enable(host)
        checks = after_a_reboot(rig, capsys)

    assert {check["state"] for check in checks.values()} == {"warning"}
    spoke = checks["spoke1"]
    assert spoke["found"] == (
        "lost at the next boot: vxlan1, the multicast route 224.0.0.0/4 (made by hand, in no file that a boot reads)"
    )
    assert f"remote {plan.hub.endpoint} local {plan.node('spoke1').endpoint} " in spoke["fix"]
    assert f"ip addr replace {plan.node('spoke1').overlay} dev " in spoke["fix"]


def test_a_route_that_no_file_has_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If files create the device and not the route, only the route is named."""
    with made("networkd", "star", tmp_path) as (rig, _, _):
        for host in rig.hosts.values():
            daemons.enable(host, "systemd-networkd.service")
        daemons.shell(rig.hosts["spoke1"], f"sed -i /Destination/d {networkd.FOLDER}/*.network")
        checks = after_a_reboot(rig, capsys)

    assert checks["spoke2"]["state"] == "ok"
    assert checks["spoke1"]["found"] == (
        "lost at the next boot: the multicast route 224.0.0.0/4 (made by hand, in no file that a boot reads)"
    )

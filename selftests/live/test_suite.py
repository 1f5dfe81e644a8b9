"""
The conformance suite on live hosts: over real SSH, unchanged, and leaving them as they were.

    pytest --hosts=hub,spoke1,spoke2 --ssh-config=... ── ssh ── sshd in each node of a lab
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from lab.stack import state
from lab.stack.changes import link_set
from reports.verdict.conformance import INCOMPLETE
from selftests import plain
from selftests.live.rig import Rig

CONFIGURED_AND_DELIVERING = (
    "tests/prerequisites",
    "tests/broadcast/test_delivery.py",
    "tests/multicast/test_delivery.py",
)
"""What shows that an overlay is the one on which another run has passed all tests."""
MINUTES = 180.0  # seconds that a run may take at most; a dozen in practice


def run(rig: Rig, reports: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """Runs the suite against the hosts of the rig; returns the run and its conformance.json."""
    command = ["-q", f"--reports={reports}"]
    command += ["--hosts=hub,spoke1,spoke2", f"--ssh-config={rig.ssh_config}", *arguments]
    command.append("--provider=oci")  # whatever cloud this machine's firmware names
    done = plain.run(*command, timeout=MINUTES)
    written = reports / "conformance.json"
    return done, json.loads(written.read_text()) if written.exists() else {}


def test_conformant_hosts_are_found_conformant_and_left_as_they_were(rig: Rig, tmp_path: Path) -> None:
    """Every MUST that live hosts can show holds, and nothing configured on the hosts has changed."""
    before = state.fingerprint(rig.lab.nodes)

    done, result = run(rig, tmp_path)

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert result["verdict"] == "conformant"
    assert result["findings"] == []
    assert result["environment"]["machine"] == "ssh"
    assert {entry["outcome"] for entry in result["requirements"] if entry["level"] == "MUST"} == {
        "passed",
        "not-applicable",
    }
    assert state.fingerprint(rig.lab.nodes) == before


UNPRIVILEGED = "--hosts=opc@hub,opc@spoke1,opc@spoke2"


def test_without_root_the_run_is_incomplete(rig: Rig, tmp_path: Path) -> None:
    """An ordinary user's run asserts delivery; what takes root did not run, with the option that brings it."""
    done, result = run(rig, tmp_path, UNPRIVILEGED)

    assert done.returncode == INCOMPLETE, done.stdout[-3000:] + done.stderr
    assert result["verdict"] == "incomplete"
    outcomes = {entry["id"]: entry for entry in result["requirements"]}
    assert {outcomes[identity]["outcome"] for identity in ("BCAST-01", "BCAST-02", "MCAST-01", "TTL-01")} == {"passed"}
    assert outcomes["WIRE-02"]["outcome"] == "not-run"
    assert "root" in outcomes["WIRE-02"]["reason"]
    assert "--sudo" in outcomes["WIRE-02"]["remedy"]


def test_a_verdict_without_root_needs_an_option_and_names_it(rig: Rig, tmp_path: Path) -> None:
    """--accept=unprivileged omits tests that need root; verdict line and results name the option."""
    done, result = run(rig, tmp_path, UNPRIVILEGED, "--accept=unprivileged")

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert result["verdict"] == "conformant"
    assert result["environment"]["accepted"] == "unprivileged"
    assert "accepted: unprivileged" in done.stdout.splitlines()[-1]
    (wire,) = (entry for entry in result["requirements"] if entry["id"] == "WIRE-02")
    assert wire["outcome"] == "not-applicable"


def test_a_detached_port_is_a_finding_with_its_remedy(rig: Rig, tmp_path: Path) -> None:
    """A hub that does not bridge a spoke's tunnel is nonconformant, and the finding names the command and the host."""
    port = rig.lab.topology.port("hub", "spoke2")
    detach = link_set(port, nomaster=True)
    attach = link_set(port, master=rig.lab.topology.bridge)

    with rig.lab.hub.node.changed(detach, attach):
        done, result = run(rig, tmp_path, "tests/prerequisites/test_configuration.py")

    assert done.returncode == 1, done.stdout[-3000:]
    (finding,) = result["findings"]
    assert (finding["code"], finding["node"], finding["interface"]) == ("port-not-bridged", "hub", port)
    assert finding["remedy"] == f"ip link set {port} master bridge0"


def test_a_run_ends_early_where_nothing_arrives(rig: Rig, tmp_path: Path) -> None:
    """On an overlay without a single delivery the first failure ends the run, with every cause and the verdict."""
    hub, ports = rig.lab.hub.node, [rig.lab.topology.port("hub", spoke.name) for spoke in rig.lab.spokes]

    hub.apply(*(link_set(port, up=False) for port in ports))
    try:
        done, result = run(rig, tmp_path)
    finally:
        hub.apply(*(link_set(port, up=True) for port in ports))

    assert done.returncode == 1, done.stdout[-3000:]
    assert result["verdict"] == "nonconformant"
    assert {(finding["code"], finding["interface"]) for finding in result["findings"]} == {
        ("tunnel-down", port) for port in ports
    }
    assert "run ended early: no packet of any host arrives on the overlay" in " ".join(done.stdout.split())
    assert len(re.findall("^FAILED ", done.stdout, re.MULTILINE)) == 1


def test_the_hub_is_recognised_whatever_the_order(rig: Rig, tmp_path: Path) -> None:
    """A hub that --hosts does not name first is found by its bridge; the fix names it as the user did."""
    port = rig.lab.topology.port("hub", "spoke2")
    detach = link_set(port, nomaster=True)
    attach = link_set(port, master=rig.lab.topology.bridge)
    hub, spoke1, spoke2 = (host.address for host in rig.hosts.values())

    with rig.lab.hub.node.changed(detach, attach):
        order = f"--hosts={spoke1},{spoke2},{hub}"
        done, result = run(rig, tmp_path, order, "-v", "tests/prerequisites/test_configuration.py")

    (finding,) = result["findings"]
    assert (finding["node"], finding["host"]) == ("hub", hub)
    assert f"{hub} is the hub (1 tunnel is a port of its bridge); --hosts names {spoke1} first" in done.stdout
    assert f"fix ({hub}, hub): ip link set {port} master bridge0" in done.stdout


def test_another_kind_of_tunnel_than_is_there_is_a_usage_error(rig: Rig, tmp_path: Path) -> None:
    """--tunnel is the tunnel expected of live hosts: if they have another, nothing is tested."""
    done, result = run(rig, tmp_path, "--tunnel=gretap", "tests/broadcast")

    assert (done.returncode, result) == (4, {})
    assert (
        "--tunnel=gretap: expected gretap tunnels on the hosts; found vxlan (hub vxlan1, spoke1 vxlan1)" in done.stderr
    )
    assert "remove --tunnel to test the overlay as it is" in done.stderr


def test_a_host_that_cannot_be_reached_is_named(rig: Rig, tmp_path: Path) -> None:
    """If a spoke is unreachable the others are tested, the run is incomplete, and the report names that spoke."""
    done, result = run(rig, tmp_path, "--hosts=hub,spoke1,nowhere.invalid", "--requirements=PRE-08,BCAST-02")

    outcomes = {entry["id"]: (entry["outcome"], entry["reason"]) for entry in result["requirements"]}
    assert done.returncode == 10
    assert result["verdict"] == "incomplete"
    assert result["findings"] == []  # the hub's tunnel to it is no fault
    assert outcomes["BCAST-02"][0] == "passed"
    assert outcomes["PRE-08"][0] == "not-run"
    assert "nowhere.invalid" in outcomes["PRE-08"][1]


def test_hosts_and_workers_exclude_each_other(rig: Rig, tmp_path: Path) -> None:
    """Two processes on the same hosts would disturb each other: one line reports it."""
    done, _ = run(rig, tmp_path, "-n", "2")

    assert done.returncode == 4
    assert "remove -n" in done.stderr

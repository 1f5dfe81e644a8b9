"""
`./overcast doctor --hosts=` on an overlay that is broken: the findings of the suite, with its fixes, and status 1.

    one host broken by commands  -->  doctor: problem, code, fix  -->  the fix, run on that host  -->  ready
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from lab import laboratory
from lab.commands.main import main
from lab.faults import catalogue
from lab.laboratory import Lab
from selftests.live.rig import Rig

END = "local 10.0.0.197 remote 10.0.0.131 dev ens3 ttl 64 && ip link set vxlan2 up master bridge0"
AGAIN = "ip link del vxlan2 && ip link add vxlan2 type vxlan"
ADDRESS = "ip addr del 172.16.254.3/24 dev vxlan2 && ip addr add 172.16.254.2/24 dev vxlan2"
ROUTE = "ip route replace 224.0.0.0/4 dev vxlan2"
# what breaks the overlay, the finding's code and its place
BROKEN = {
    "wrong VNI": (f"hub: {AGAIN} id 9 dstport 4789 {END}", "tunnel-vni-mismatch", "spoke2", "vxlan2"),
    "wrong port": (f"hub: {AGAIN} id 2 dstport 4790 {END}", "tunnel-port-mismatch", "hub", "vxlan2"),
    "tunnel down": ("spoke2: ip link set vxlan2 down", "tunnel-down", "spoke2", "vxlan2"),
    "no ARP": ("spoke2: ip link set vxlan2 arp off", "device-noarp", "spoke2", "vxlan2"),
    "no multicast route": ("spoke2: ip route del 224.0.0.0/4", "multicast-route-missing", "spoke2", "vxlan2"),
    "wrong multicast route": (
        "spoke2: ip route replace 224.0.0.0/4 dev ens3",
        "multicast-route-elsewhere",
        "spoke2",
        "ens3",
    ),
    "an address twice": (f"spoke2: {ADDRESS} && {ROUTE}", "duplicate-address", "spoke2", "vxlan2"),
    "NIC's neighbour": (
        "spoke2: ip neigh replace 10.0.0.197 lladdr 02:00:00:00:00:99 dev ens3 nud permanent",
        "neighbour-wrong",
        "spoke2",
        "ens3",
    ),
    "shaper": (
        "hub: tc qdisc replace dev vxlan2 root tbf rate 20kbit burst 1600 latency 10ms",
        "traffic-impaired",
        "hub",
        "vxlan2",
    ),
    "bridge filter": ("hub: ebtables -A FORWARD -o vxlan2 -j DROP", "bridged-dropped", "hub", "bridge0"),
}


@contextlib.contextmanager
def hosts_of(shared_rig: Rig, directory: Path, *faults: str) -> Any:
    """Hosts of their own with an overlay that is broken in some ways."""
    lab = laboratory.build(shared_rig.lab.machine, shared_rig.lab.topology, shared_rig.lab.underlay)
    with lab, contextlib.closing(Rig(lab, directory)) as rig:
        for fault in faults:
            catalogue.named(fault).inject(lab)
        yield rig


def ask(capsys: pytest.CaptureFixture[str], rig: Rig, hosts: str = "hub,spoke1,spoke2") -> dict[str, Any]:
    """The report of the doctor, as programs read it."""
    status = main(["doctor", f"--hosts={hosts}", f"--ssh-config={rig.ssh_config}", "--json"])
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert report["exit_status"] == status
    return report


def repair(lab: Lab, finding: dict[str, Any]) -> None:
    """Runs a fix where it is to be run."""
    done = lab.nodes[finding["node"]].run("sh", "-c", finding["remedy"])
    assert done["status"] == 0, done
    lab.forget_neighbours()  # neighbours that the fault left in the caches; they would expire within a minute


@pytest.fixture(autouse=True)
def _same_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands widen PATH; here that ends with the test."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")


@pytest.mark.parametrize("broken", BROKEN)
def test_what_the_suite_finds_the_doctor_finds(
    shared_rig: Rig, tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: str
) -> None:
    """An overlay that fails the suite is not ready: the finding is a problem, and after its fix the hosts are ready."""
    fault, code, node, interface = BROKEN[broken]
    with hosts_of(shared_rig, tmp_path, fault) as rig:
        report = ask(capsys, rig)
        # what one cause leads to may end elsewhere, which is a place and has no fix
        (finding,) = [finding for finding in report["findings"] if finding["remedy"]]
        repair(rig.lab, finding)
        after = ask(capsys, rig)

    assert (finding["code"], finding["node"], finding["interface"]) == (code, node, interface)
    problem, *_ = [check for check in report["checks"] if check["state"] == "problem"]
    assert (problem["check"], problem["role"], problem["fix"]) == (code, node, finding["remedy"])
    assert report["exit_status"] == 1
    assert not report["ready"]
    assert (after["ready"], after["findings"], after["exit_status"]) == (True, [], 0)


def test_the_hub_is_recognised_by_its_tunnels(
    shared_rig: Rig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the order in --hosts, the fix is for the host that needs it, under the name that the user gave it."""
    addresses = {name: host.address for name, host in shared_rig.hosts.items()}
    order = ",".join((addresses["spoke1"], addresses["spoke2"], addresses["hub"]))
    with hosts_of(shared_rig, tmp_path, "port-detached") as rig:
        main(["doctor", f"--hosts={order}", f"--ssh-config={rig.ssh_config}"])
        text = capsys.readouterr().out
        report = ask(capsys, rig, order)

    assert f"{addresses['hub']} is the hub (1 tunnel is a port of its bridge)" in text
    assert f"--hosts names {addresses['spoke1']} first" in text
    assert f"fix ({addresses['hub']}, hub): ip link set vxlan2 master bridge0" in text
    assert report["hosts"] == addresses
    (finding,) = report["findings"]
    assert (finding["node"], finding["host"], finding["interface"]) == ("hub", addresses["hub"], "vxlan2")


def test_an_ambiguous_hub_is_the_first_host(
    shared_rig: Rig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With tunnels and no bridge, either host could be the hub: the first is taken, and the report states it."""
    with hosts_of(shared_rig, tmp_path, "hub: ip link del bridge0; ip link del vxlan2") as rig:
        report = ask(capsys, rig, "hub,spoke1")

    (said,) = [check for check in report["checks"] if check["check"] == "hub"]
    assert said["state"] == "warning"
    assert "hub is taken as the hub, since --hosts names it first" in said["found"]


def test_an_mtu_that_is_small_everywhere_is_no_fault(
    shared_rig: Rig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An overlay whose devices agree on less than the NICs leave delivers: a warning, as the suite has it."""
    port = "ip link set vxlan1 mtu 1450 && ip link set vxlan2 mtu 1450 && ip link set bridge0 mtu 1450"
    small = [f"hub: {port}", *(f"spoke{number}: ip link set vxlan{number} mtu 1450" for number in (1, 2))]
    with hosts_of(shared_rig, tmp_path, *small) as rig:
        report = ask(capsys, rig)

    assert (report["ready"], report["findings"]) == (True, [])
    (said,) = [check for check in report["checks"] if check["check"] == "MTU"]
    assert said["state"] == "warning"
    assert said["found"].startswith("1450; the NICs leave 8950")

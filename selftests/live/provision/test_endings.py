"""
`--provision`: an overlay for the length of a run, and hosts that are as before whatever ends it.

    pytest --hosts=hub,spoke1,spoke2 --provision ── ssh ── sshd in each node of a lab without an overlay

That every host is as before, to the last line of `ip -d`, is shown by the teardown of `rig` after every test.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.laboratory import Lab
from lab.model import Change
from lab.stack.changes import link_set
from selftests.live.conftest import on_this_kernel
from selftests.live.provision.runs import Run, overlay_on, processes
from selftests.live.rig import Rig

SUDO = ",".join(f"opc@{name}?sudo=true" if shutil.which("sudo") else name for name in ("hub", "spoke1", "spoke2"))
SILENT = 25.0  # seconds within which a disconnected host has restored itself; some ten in practice


HAD = {
    "ip link add old0 type bridge": "ip link del old0",
    "ip link add port0 type veth peer name port1": "ip link del port0",
    "ip link set port0 master old0": "",
    "for device in old0 port0 port1; do ip link set $device up; done": "",
    "sysctl -qw net.ipv6.conf.lo.disable_ipv6=0": "sysctl -qw net.ipv6.conf.lo.disable_ipv6=1",
}
"""What a host had before, and how it goes."""

LEAKS = {
    "ip addr add 192.0.2.1/32 dev lo": "ip addr del 192.0.2.1/32 dev lo",
    "ip rule add priority 100 lookup 7": "ip rule del priority 100 from all lookup 7",
    "ip route add blackhole 192.0.2.0/24 table 7": "ip route del blackhole 192.0.2.0/24 table 7",
    "ip neigh add 10.0.0.77 lladdr 02:00:00:00:00:99 dev ens3": "ip neigh del 10.0.0.77 dev ens3",
    "iptables-nft -A INPUT -s 192.0.2.1/32 -j DROP": "iptables-nft -t filter -D INPUT -s 192.0.2.1/32 -j DROP",
    "tc qdisc add dev ens3 root pfifo limit 7": "tc qdisc del dev ens3 root",
    "sysctl -qw net.ipv4.conf.ens3.arp_ignore=3": "sysctl -w net.ipv4.conf.ens3.arp_ignore='0'",
    "ip link add leak0 type bridge": "ip link del leak0",
    "ip addr add 2001:db8::1/128 dev lo": "ip addr del 2001:db8::1/128 dev lo",
    "ip -6 route add 2001:db8:1::/64 dev lo": "ip -6 route del 2001:db8:1::/64 dev lo",
    "bridge fdb add 02:00:00:00:00:98 dev port0 master static": "bridge fdb del 02:00:00:00:00:98 dev port0 master",
    "bridge mdb add dev old0 port port0 grp 239.1.1.1 permanent": "bridge mdb del dev old0 port port0",
    "ip link set old0 type bridge mcast_querier 1": "ip link set old0 type bridge mcast_querier 0",
    "bridge link set dev port0 isolated on": "bridge link set dev port0 isolated off",
    "ebtables-nft -A FORWARD -p ARP -j DROP": "ebtables-nft -t filter -D FORWARD -p ARP -j DROP",
    "nft add table inet leak; nft add chain inet leak c; nft add rule inet leak c drop": "nft delete rule inet",
    "tc qdisc add dev port0 clsact; tc filter add dev port0 ingress matchall action drop": "tc filter del",
}
"""What changes something of each kind, and how the fix for it begins."""

# runs that end by themselves


def test_the_overlay_is_there_for_the_run(rig: Rig, run: Callable[..., Run]) -> None:
    """The tests find the overlay that was set up, and pass."""
    status, said = run("--requirements=BCAST-01,BCAST-02,MCAST-01").ended()

    assert "set up on them for this run" in said
    assert "the hosts are as before the run" in said
    assert re.search(r"\d+ passed", said), said
    assert " failed" not in said
    assert " error" not in said
    assert status == 10  # only some of the requirements were asked for


def test_the_whole_suite_passes(rig: Rig, run: Callable[..., Run]) -> None:
    """Every test holds, or does not apply to live hosts, on the overlay that the run has set up."""
    _, said = run("tests").ended()

    assert re.search(r"\d{3} passed", said), said
    assert not re.search(r"\d+ (failed|error)", said), said
    assert "the hosts are as before the run" in said


def test_a_topology_can_be_chosen_and_tests_can_fail(rig: Rig, run: Callable[..., Run]) -> None:
    """The article's topology leaves most groups to the underlay: MCAST-08 fails, and the hosts are restored."""
    status, said = run("--topology=article", "--requirements=MCAST-08").ended()

    assert status == 1, said
    assert "the hosts are as before the run" in said


def test_an_error_in_collection_takes_the_overlay_away(rig: Rig, run: Callable[..., Run]) -> None:
    """A run that never comes to its tests has set the overlay up, and takes it away."""
    status, said = run("tests/nowhere.py").ended()

    assert status == 4, said
    assert "the hosts are as before the run" in said


def _with_ipv6(lab: Lab) -> None:
    """Hosts that use IPv6, as most images do, and whose detection takes longer than the tests take to come to it."""
    values = {f"net.ipv6.conf.{scope}.disable_ipv6": 0 for scope in ("all", "default")}
    for name in lab.plans:
        lab.nodes[name].write_sysctls({**values, "net.ipv6.conf.default.dad_transmits": 3})


@pytest.mark.parametrize("test", ["test_group_is_delivered_with_a_hop_limit_of_1", "test_every_node_answers_a_ping"])
def test_ipv6_addresses_are_waited_for(tmp_path: Path, test: str) -> None:
    """On hosts that use IPv6 the first test finds addresses that passed duplicate address detection."""
    files = tmp_path / "rig"
    files.mkdir()
    with on_this_kernel(files, overlay=False, prepare=_with_ipv6) as rig:
        _, said = Run(rig, tmp_path, "tests/ipv6/test_delivery.py", "-k", test).ended()

    assert re.search(r"\d+ passed", said), said
    assert " failed" not in said
    assert " error" not in said


# runs that are ended


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_the_run_is_ended(rig: Rig, held: Callable[..., Run], number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM take the overlay away; when the controller is killed the hosts do it, also below sudo."""
    in_order = number in (signal.SIGINT, signal.SIGTERM)
    made = held(f"--hosts={SUDO if number is signal.SIGKILL else rig.specs}")

    os.killpg(made.process.pid, number)
    status, said = made.ended()

    assert status == (2 if in_order else -number), said
    assert {name: left for name, host in rig.hosts.items() if (left := host.left())} == {}
    assert not any(overlay_on(rig).values())
    assert ("the hosts are as before the run" in said) == in_order
    assert not in_order or said.strip().splitlines()[-1].startswith("verdict: incomplete (interrupted) - ")


# hosts that are lost


@pytest.mark.parametrize(
    ("victim", "number"),
    [("ssh_init", signal.SIGKILL), ("ssh_init", signal.SIGTERM), ("sshd", signal.SIGKILL)],
    ids=["agent-killed", "agent-ended", "login-killed"],
)
def test_a_host_ends_its_side(rig: Rig, held: Callable[..., Run], victim: str, number: signal.Signals) -> None:
    """Agent or login ended on a spoke: it puts itself back at once, and the run looks at it once more in the end."""
    made = held()
    spoke = rig.hosts["spoke1"]

    for pid in processes(spoke, victim):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    assert spoke.left() == {}
    assert overlay_on(rig) == {"hub": True, "spoke1": False, "spoke2": True}
    _, said = made.interrupted()
    assert "the hosts are as before the run" in said


def test_a_lost_host_is_no_verdict(rig: Rig, held: Callable[..., Run], tmp_path: Path) -> None:
    """Tests that needed it are errors of the environment, with its name; earlier results are kept."""
    made = held("--requirements=BCAST-01,BCAST-02")
    (agent,) = processes(rig.hosts["spoke1"], "ssh_init")

    os.kill(agent, signal.SIGKILL)
    os.kill(made.process.pid, signal.SIGUSR1)
    status, said = made.ended()

    assert status == 1, said
    assert re.search(r"1 passed, .* \d+ errors? in", said), said
    assert " failed" not in said
    assert "spoke1 was lost" in said
    assert "Traceback" not in said
    assert "verdict: incomplete" in said
    assert "the hosts are as before the run" in said
    outcomes = {entry["id"]: entry for entry in json.loads((tmp_path / "conformance.json").read_text())["requirements"]}
    assert outcomes["BCAST-01"]["outcome"] == "not-run"
    assert "spoke1 was lost" in outcomes["BCAST-01"]["reason"]


def test_a_restorer_is_killed(rig: Rig, held: Callable[..., Run]) -> None:
    """The process that would put a host back is killed: the agent starts another one in time."""
    made = held()

    (restorer,) = processes(rig.hosts["hub"], "overcast_restorer")
    os.kill(restorer, signal.SIGKILL)

    _, said = made.interrupted()
    assert "the hosts are as before the run" in said


def test_a_host_is_cut_off(rig: Rig, held: Callable[..., Run]) -> None:
    """Packets are lost without an error: the host restores itself, and the run reports that it cannot check it."""
    made = held("--hosts=ssh://hub?timeout=3,spoke1,spoke2", inside=True)
    hub = rig.hosts["hub"]
    restorers = [os.pidfd_open(pid) for pid in processes(hub, "overcast_restorer")]

    change: dict[str, str] = {"device": "hub"}
    down: Change = link_set(**change, up=False)
    with rig.lab.fabric.changed(down, link_set(**change, up=True)):
        status, said = made.interrupted()
        assert hub_is_restored(restorers)
        assert not overlay_on(rig)["hub"]

    assert status == 12
    assert "hub was lost" in said
    assert "which was not seen" in said
    assert "run on hub: ip -d link" in said
    for pid in processes(hub, "sshd"):
        os.kill(pid, signal.SIGTERM)


def hub_is_restored(restorers: list[int]) -> bool:
    poller = select.poll()
    for descriptor in restorers:
        poller.register(descriptor, select.POLLIN)
    ended = poller.poll(SILENT * 1000)
    for descriptor in restorers:
        os.close(descriptor)
    return len(ended) == len(restorers) == 1


def test_a_change_by_another_program_is_reported(rig: Rig, held: Callable[..., Run]) -> None:
    """A host that differs in the end: each difference, the command that reverts it, and a separate exit status."""
    spoke = rig.lab["spoke1"].node
    for command in HAD:
        done = spoke.run("sh", "-c", command)
        assert done["status"] == 0, (command, done["errors"])
    made = held()
    missing = []
    try:
        for command in LEAKS:
            done = spoke.run("sh", "-c", command)
            if done["status"] != 0:
                missing.append(command)
                assert re.search("not supported|Unknown|not found", done["errors"]), (command, done["errors"])
        status, said = made.interrupted()
    finally:
        for command in (*LEAKS.values(), "nft delete table inet leak", *filter(None, HAD.values())):
            spoke.run("sh", "-c", command)

    assert status == 12
    assert "hosts differ from their state before --provision" in said
    expected = [fix for command, fix in LEAKS.items() if command not in missing]
    assert [fix for fix in expected if f"run on spoke1: {fix}" not in said] == []
    assert said.rstrip().splitlines()[-1].startswith("verdict: "), "the verdict is the last line all the same"

"""
`--provision`: an overlay for the length of a run, and hosts that are as before whatever ends it.

    pytest --hosts=hub,spoke1,spoke2 --provision ── ssh ── sshd in each node of a lab without an overlay
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import execnet
import pytest

from lab import laboratory, provision, topologies
from lab.errors import EnvironmentProblem
from lab.machines import choose
from lab.machines.base import ROOT
from lab.model import Change, TunnelOptions, Underlay
from lab.overlay import placing
from lab.providers import provider
from lab.provision import Provisioned
from selftests.live.conftest import Reach
from selftests.live.rig import Rig, RigHost, missing

BRIDGE = "bridge0"
DELIVERY = "tests/broadcast/test_delivery.py"
QUICK = (DELIVERY, "-k", "test_reaches_every_other_node_exactly_once")
SUDO = ",".join(f"opc@{name}?sudo=true" if shutil.which("sudo") else name for name in ("hub", "spoke1", "spoke2"))
MINUTES = 120.0  # seconds that a run may take at most; three in practice
SILENT = 25.0  # seconds within which a host that hears nothing any more has put itself back; some ten in practice

LOOKS = (
    ("ip", "-d", "addr"),
    ("ip", "-d", "link"),
    ("ip", "-d", "route", "show", "table", "all"),
    ("ip", "-6", "-d", "route", "show", "table", "all"),
    ("ip", "rule"),
    ("bridge", "-d", "link"),
    ("bridge", "fdb"),
    ("grep", "-rs", "", "/proc/sys/net", "--exclude=nf_conntrack_count", "--exclude=stat_refresh"),
    ("cat", "/proc/modules"),
)
TIMERS = re.compile(r" \w+_timer +[\d.]+")


@pytest.fixture(scope="module")
def clean_rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Hosts as a cloud hands them out."""
    if lack := missing():
        pytest.skip(lack)
    starting = choose.start(choose.choose("host", "vxlan"), execnet.Group())
    topology = topologies.standard(2, TunnelOptions(kind="vxlan"))
    lab = laboratory.build(starting.machine(), topology, Underlay(provider("oci")), overlay=False)
    made = Rig(lab, tmp_path_factory.mktemp("clean"))
    yield made
    made.close()
    starting.close()


def looked(rig: Rig) -> dict[str, list[str]]:
    """Everything that could have changed, by host and question, and the files."""
    found = {}
    for name, host in rig.hosts.items():
        for look in LOOKS:
            said = rig.lab.nodes[name].run(*look)
            found[f"{name}: {' '.join(look)}"] = sorted(TIMERS.sub("", said["output"]).splitlines())
        found[f"{name}: files"] = sorted(host.files())
    return found


@pytest.fixture
def rig(clean_rig: Rig) -> Iterator[Rig]:
    """The hosts; after the test no process is left on them, and every line that describes them is as before."""
    before = looked(clean_rig)
    yield clean_rig
    assert {name: left for name, host in clean_rig.hosts.items() if (left := host.left())} == {}
    after = looked(clean_rig)
    changed = {look: set(before[look]) ^ set(after[look]) for look in before if before[look] != after[look]}
    assert not changed


class Run:
    """A run of pytest on the hosts of a rig."""

    def __init__(self, rig: Rig, reports: Path, *arguments: str, inside: bool = False) -> None:
        config = rig.inner_config if inside else rig.ssh_config
        command = [sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider", f"--reports={reports}"]
        command += ["--hosts=hub,spoke1,spoke2", f"--ssh-config={config}", "--provision", "--tunnel=vxlan"]
        with rig.entered() if inside else contextlib.nullcontext():
            self.process = subprocess.Popen(
                [*command, *arguments],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        self.said: list[str] = []

    def until_ready(self) -> Run:
        """Up to the middle of the first test (`selftests.lab.hold`)."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            if line.endswith("READY\n"):
                return self
        raise AssertionError("".join(self.said))

    def ended(self) -> tuple[int, str]:
        """Its exit status and all it said."""
        rest, _ = self.process.communicate(timeout=MINUTES)
        return self.process.returncode, "".join([*self.said, rest])

    def interrupted(self) -> tuple[int, str]:
        os.killpg(self.process.pid, signal.SIGINT)
        return self.ended()


@pytest.fixture
def run(rig: Rig, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Starts runs; whatever is left of them is killed before the hosts are looked at."""
    made: list[Run] = []

    def start(*arguments: str, **fields: bool) -> Run:
        made.append(Run(rig, tmp_path, *(arguments or QUICK), **fields))
        return made[-1]

    yield start
    for one in made:
        one.process.kill()
        one.process.communicate()


@pytest.fixture
def held(rig: Rig, run: Callable[..., Run]) -> Callable[..., Run]:
    """Starts runs that stand still in the middle of their first test, with the overlay there."""

    def start(*arguments: str, **fields: bool) -> Run:
        made = run(*QUICK, "-p", "selftests.lab.hold", *arguments, **fields).until_ready()
        assert all(overlay_on(rig).values())
        return made

    return start


def overlay_on(rig: Rig) -> dict[str, bool]:
    """Whether each host has its device of the overlay."""
    return {name: rig.lab.nodes[name].has_link(plan.device) for name, plan in rig.lab.plans.items()}


def processes(host: RigHost, words: str) -> list[int]:
    """The processes of a host that have the words in their command line."""
    return [pid for pid, command in host.processes().items() if words in command]


# runs that end by themselves


def test_the_overlay_is_there_for_the_run(rig: Rig, run: Callable[..., Run]) -> None:
    """The tests find the overlay that was set up, and pass."""
    status, said = run("--requirements=BCAST-01,BCAST-02,MCAST-01").ended()

    assert "set up on them for this run" in said
    assert "the hosts are as they were before" in said
    assert re.search(r"\d+ passed", said), said
    assert " failed" not in said
    assert " error" not in said
    assert status == 10  # only some of the requirements were asked for


@pytest.mark.slow
def test_the_whole_suite_passes(rig: Rig, run: Callable[..., Run]) -> None:
    """Every test holds, or does not apply to live hosts, on the overlay that the run has set up."""
    _, said = run("tests").ended()

    assert re.search(r"\d{3} passed", said), said
    assert not re.search(r"\d+ (failed|error)", said), said
    assert "the hosts are as they were before" in said


def test_a_topology_can_be_chosen_and_tests_can_fail(rig: Rig, run: Callable[..., Run]) -> None:
    """The article's topology leaves most groups to the underlay: MCAST-08 fails, and the hosts are put back."""
    status, said = run("--topology=article", "--requirements=MCAST-08").ended()

    assert status == 1, said
    assert "the hosts are as they were before" in said


def test_an_error_in_collection_takes_the_overlay_away(rig: Rig, run: Callable[..., Run]) -> None:
    """A run that never comes to its tests has set the overlay up, and takes it away."""
    status, said = run("tests/nowhere.py").ended()

    assert status == 4, said
    assert "the hosts are as they were before" in said


# runs that are ended


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_the_run_is_ended(rig: Rig, held: Callable[..., Run], number: signal.Signals) -> None:
    """Ctrl-C takes the overlay away; a controller that is killed cannot, and the hosts do it, also below sudo."""
    made = held(f"--hosts={SUDO if number is signal.SIGKILL else rig.specs}")

    os.killpg(made.process.pid, number)
    status, said = made.ended()

    assert status == (2 if number is signal.SIGINT else -number), said
    assert {name: left for name, host in rig.hosts.items() if (left := host.left())} == {}
    assert not any(overlay_on(rig).values())
    assert ("the hosts are as they were before" in said) == (number is signal.SIGINT)


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
    assert "the hosts are as they were before" in said


def test_a_restorer_is_killed(rig: Rig, held: Callable[..., Run]) -> None:
    """The process that would put a host back is killed: the agent starts another one in time."""
    made = held()

    (restorer,) = processes(rig.hosts["hub"], "overcast_restorer")
    os.kill(restorer, signal.SIGKILL)

    _, said = made.interrupted()
    assert "the hosts are as they were before" in said


@pytest.mark.slow
def test_a_host_is_cut_off(rig: Rig, held: Callable[..., Run]) -> None:
    """Packets are lost without a word: the host puts itself back, and the run says that it cannot see it."""
    made = held(inside=True)
    hub = rig.hosts["hub"]
    restorers = [os.pidfd_open(pid) for pid in processes(hub, "overcast_restorer")]

    change: dict[str, str] = {"device": "hub"}
    down: Change = ("link_set", {**change, "up": False})
    with rig.lab.fabric.changed(down, ("link_set", {**change, "up": True})):
        status, said = made.interrupted()
        assert hub_is_restored(restorers)
        assert not overlay_on(rig)["hub"]

    assert status == 12
    assert "hub (hub) was lost" in said
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


# what is not touched


@pytest.fixture
def set_up(rig: Rig, reach: Reach) -> Callable[..., Provisioned]:
    """Sets the overlay up from here, without pytest."""

    def start(**fields: Any) -> Provisioned:
        topology = topologies.standard(2, TunnelOptions(kind="vxlan"))
        made = provision.provision(reach(rig.specs).machines, topology, **fields)
        assert all(overlay_on(rig).values())
        return made

    return start


TUNNEL = {"device": "own", "kind": "vxlan", "data": [["IFLA_VXLAN_ID", 9], ["IFLA_VXLAN_GROUP", "10.0.0.197"]]}
ADDRESS = {"device": "lo", "address": "172.16.254.9/32"}
ROUTE = {"to": "224.0.0.0/4", "device": "ens3"}


@pytest.mark.parametrize(
    ("host", "change", "undo", "found", "remedy"),
    [
        (
            "hub",
            ("link_add", {"device": BRIDGE, "kind": "bridge"}),
            ("link_del", {"device": BRIDGE}),
            "there is a device bridge0 (bridge) (to see it: ip -d link show dev bridge0)",
            "leave --provision out",
        ),
        (
            "spoke1",
            ("addr_add", ADDRESS),
            ("addr_del", ADDRESS),
            "172.16.254.9/32 is on lo (to see it: ip addr show dev lo)",
            "--overlay-subnet=",
        ),
        (
            "spoke2",
            ("route_add", ROUTE),
            ("route_del", ROUTE),
            "there is a route 224.0.0.0/4 dev ens3 (to see it: ip route show 224.0.0.0/4)",
            "--replace-routes",
        ),
        (
            "spoke1",
            ("link_add", TUNNEL),
            ("link_del", {"device": "own"}),
            "there is a tunnel own (vxlan) to hub (to see it: ip -d link show dev own)",
            "leave --provision out",
        ),
    ],
    ids=["device", "address", "route", "tunnel"],
)
def test_what_is_there_is_refused(
    rig: Rig,
    set_up: Callable[..., Provisioned],
    host: str,
    change: Change,
    undo: Change,
    found: str,
    remedy: str,
) -> None:
    """Something in the way: one message names it, and what to run; nothing is changed."""
    with rig.lab.nodes[host].changed(change, undo):
        before = looked(rig)
        with pytest.raises(EnvironmentProblem) as refusal:
            set_up()
        assert looked(rig) == before

    assert f"\n  {host}: {found}" in refusal.value.message
    assert remedy in str(refusal.value.remedy)


def test_a_refusal_is_one_message(rig: Rig, run: Callable[..., Run]) -> None:
    """Pytest ends before any test, with the message alone."""
    with rig.lab["spoke2"].node.changed(("route_add", ROUTE), ("route_del", ROUTE)):
        status, said = run().ended()

    assert status == 4
    assert said.startswith("ERROR: --provision sets up what is not there")
    assert "Traceback" not in said


def test_a_refused_change_leaves_all_hosts_as_they_were(
    rig: Rig, set_up: Callable[..., Provisioned], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One host refuses: the message names it and the command, and the others are put back too."""
    monkeypatch.setattr(placing, "in_the_way", lambda *_: [])  # somebody was quicker than the second look
    with rig.lab["spoke2"].node.changed(("route_add", ROUTE), ("route_del", ROUTE)):
        rig.lab["spoke2"].node.apply(("link_add", {"device": "vxlan2", "kind": "bridge"}))
        before = looked(rig)
        with pytest.raises(EnvironmentProblem, match=r"spoke2: ip link add vxlan2 .*File exists\nthe hosts are as"):
            set_up()
        assert looked(rig) == before
        rig.lab["spoke2"].node.apply(("link_del", {"device": "vxlan2"}))


def test_a_route_makes_room_when_told(rig: Rig, set_up: Callable[..., Provisioned]) -> None:
    """It is set aside, and is there again with its metric and protocol."""
    node = rig.lab["spoke2"].node
    node.run("ip", "route", "add", "224.0.0.0/4", "dev", "ens3", "metric", "50", "proto", "99")
    before = looked(rig)

    provisioned = set_up(replace_routes=True)
    assert "224.0.0.0/4 dev vxlan2" in node.run("ip", "route")["output"]
    provisioned.restore()

    assert looked(rig) == before
    node.run("ip", "route", "del", "224.0.0.0/4", "dev", "ens3")


def test_another_subnet_can_be_taken(rig: Rig, set_up: Callable[..., Provisioned]) -> None:
    """An address that is taken is no obstacle to an overlay in another subnet."""
    with rig.lab["spoke1"].node.changed(("addr_add", ADDRESS), ("addr_del", ADDRESS)):
        set_up(subnet=IPv4Network("172.16.253.0/24")).restore()


def test_a_change_by_somebody_else_is_told(rig: Rig, held: Callable[..., Run]) -> None:
    """A host that is not as it was in the end: the line, the command that mends it, and a status of its own."""
    made = held()
    address = {"device": "lo", "address": "192.0.2.1/32"}
    with rig.lab["spoke1"].node.changed(("addr_add", address), ("addr_del", address)):
        status, said = made.interrupted()

    assert status == 12
    assert "not all as they were before --provision" in said
    assert "run on spoke1: ip addr del 192.0.2.1/32 dev lo" in said


def test_two_runs_do_not_share_hosts(rig: Rig, held: Callable[..., Run], run: Callable[..., Run]) -> None:
    """The second one finds the overlay of the first, and leaves it alone."""
    first = held()

    status, said = run().ended()

    assert status == 4
    assert "there is a device bridge0" in said
    assert all(overlay_on(rig).values())
    first.interrupted()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--provision",), "--provision sets an overlay up on live hosts: name them with --hosts="),
        (("--replace-routes",), "--replace-routes is a part of --provision"),
        (("--provision", "--hosts=a,b", "--overlay-subnet=nonsense"), "--overlay-subnet=nonsense: "),
    ],
    ids=["hosts", "provision", "subnet"],
)
def test_options_that_make_no_sense(arguments: tuple[str, ...], message: str) -> None:
    """One line says what is missing."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *QUICK, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 4
    assert message in done.stderr


def test_without_root_nothing_can_be_set_up(rig: Rig, run: Callable[..., Run]) -> None:
    """An ordinary user is told how to become root."""
    status, said = run(*QUICK, "--hosts=hub,opc@spoke1").ended()

    assert status == 4
    assert "--provision needs root, and there is none on spoke1 (opc@spoke1)" in said
    assert "--sudo" in said

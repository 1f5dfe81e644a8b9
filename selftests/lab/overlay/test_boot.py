"""
What `overcast plan` writes for gretap makes the overlay by the tool that it is for, in nodes of a guest kernel.

    hub, spoke1, spoke2 ── systemd-networkd, or sh, with the written files ──▶ every host receives from every other
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

import execnet
import pytest

from lab import laboratory
from lab.boot import common, daemons, rehearsal
from lab.boot.common import Files
from lab.boot.formats import networkd, shell
from lab.boot.rehearsal import CopiedFiles
from lab.clouds.providers import provider
from lab.errors import EnvironmentProblem, UsageProblem
from lab.laboratory import BuiltLab
from lab.machines import choose, program
from lab.machines.node import Node
from lab.model import NodePlan, Topology, TunnelOptions, Underlay
from lab.overlay.recognition import readback
from lab.topology import designs

WITHIN = 60.0  # seconds, on a busy machine too; one in practice
STARTED = f"""
mkdir -p /run/systemd/network
cp /run/*.netdev /run/*.network /run/systemd/network
{daemons.PREPARED}
exec {daemons.NETWORKD}
"""

Start = Callable[[Node, Files], object]


def by_networkd(node: Node, files: Files) -> object:
    """Where a node has its own /run, and networkd's files in it."""
    named = {PurePosixPath(path).name: text for path, text in files.items()}
    return program.start(node, "sh", "-c", STARTED, package="systemd", files=named)


def by_shell(node: Node, files: Files) -> object:
    """The script alone; what sets the kernel's parameters is tried elsewhere."""
    script = files[shell.SCRIPT].replace(f"    sysctl -q -p {common.SYSCTLS}\n", "")
    done = node.run("sh", "-c", script, "overlay", "up")
    assert done["status"] == 0, done
    return done


@pytest.fixture(params=["star gretap", "star geneve", "star ip6gretap", "two-hubs-bond gretap", "two-hubs-prp gretap"])
def lab(request: pytest.FixtureRequest) -> Iterator[BuiltLab]:
    """Hosts without an overlay, in a guest."""
    name, kind = request.param.split()
    mtu = provider("oci").mtu
    topology = common.sized(designs.topology(name, 2, TunnelOptions(kind=kind), mtu), mtu)
    group = execnet.Group()
    try:
        starting = choose.start(choose.choose("guest", kind), group)
    except EnvironmentProblem as problem:
        pytest.skip(str(problem))
    try:
        with laboratory.build(starting.machine(), topology, Underlay(provider("oci")), overlay=False) as built:
            yield built
    finally:
        starting.close()
        group.terminate(1.0)


@pytest.mark.parametrize(
    ("files", "start"), [(networkd.files, by_networkd), (shell.files, by_shell)], ids=["networkd", "shell"]
)
def test_every_host_receives_from_every_other(
    lab: BuiltLab, files: Callable[[Topology, NodePlan], Files], start: Start
) -> None:
    """Broadcast from every host arrives once at all others, over the overlay that the tool set up from the files."""
    if files is networkd.files and lab.topology.doubled:
        with pytest.raises(UsageProblem, match="networkd does not support a two-hubs-prp overlay: use --format=shell"):
            files(lab.topology, lab.topology.nodes[0])
        return
    for name, node in ((plan.name, lab.nodes[plan.name]) for plan in lab.topology.nodes):
        start(node, files(lab.topology, lab.topology.node(name)))
    await_made(lab)

    for host in lab.hosts.values():
        reached = [name for name in lab.others(host) if name in lab.topology.reached(host.name)]
        with lab.listen(reached) as heard:
            host.udp.send(to=lab.everyone)
        heard.exactly_once(reached)
    for plan in lab.topology.nodes:
        assert lab.nodes[plan.name].link(plan.device).mtu == common.mtu(lab.topology, plan)


def test_the_commands_of_plan_open_iptables(make_lab: Callable[..., BuiltLab]) -> None:
    """Where INPUT drops what it does not know, the commands that plan prints let the overlay through."""
    lab = make_lab()
    for plan in lab.topology.nodes:
        command = f"iptables -P INPUT DROP && {common.iptables(lab.topology, plan)}"
        done = lab.nodes[plan.name].run("sh", "-ec", command)
        assert done["status"] == 0, done

    with lab.listen(lab.others("hub")) as heard:
        lab.hub.udp.send(to=lab.everyone)
    heard.exactly_once(lab.others("hub"))


def await_made(lab: BuiltLab) -> None:
    """Returns when every host has its multicast route, and its devices carry."""
    deadline = time.monotonic() + WITHIN
    while not all(is_made(lab, plan) for plan in lab.topology.nodes):
        assert time.monotonic() < deadline, "a host has no multicast route, or a device without a carrier"


def is_made(lab: BuiltLab, plan: NodePlan) -> bool:
    node, devices = lab.nodes[plan.name], lab.topology.devices(plan.name)
    carrying = [link.name for link in node.read("links") if link.name in devices and link.up and link.carrier]
    routed = any(route.dst == str(lab.topology.multicast_route) for route in node.read("routes"))
    return routed and set(carrying) == set(devices)


@pytest.mark.parametrize("lab", ["star gretap", "star ip6gretap"], indirect=True)
def test_a_rehearsal_boots_hosts_in_a_guest(lab: BuiltLab) -> None:
    """The root directory of a rehearsed host works in a guest too: networkd makes the overlay there from its files."""
    before = readback.read([lab.nodes[plan.name] for plan in lab.topology.nodes])
    started = []
    for plan in lab.topology.nodes:
        texts = networkd.files(lab.topology, plan)
        files = [{"path": path, "tool": "systemd-networkd", "text": text} for path, text in texts.items()]
        started.append(rehearsal.boot(lab, plan, CopiedFiles(files, ()), before[plan.name]))
    failed = [line for one in started for line in rehearsal.failures(one)]
    await_made(lab)

    assert failed == []

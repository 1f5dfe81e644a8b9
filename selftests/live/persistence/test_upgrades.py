"""
What a package upgrade or a reload does to an overlay that a tool has made from the written files: nothing.

    systemctl try-restart (stop, start; /run is kept)  ·  networkctl reload, reconfigure  ·  nmcli reload, reapply
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from lab.boot.daemons import NETWORK_MANAGER
from lab.boot.formats import ifupdown, networkd, shell
from lab.boot.rehearsal import differences
from lab.model import Topology
from lab.overlay.recognition import readback
from lab.stack import state
from selftests.live.persistence import daemons
from selftests.live.persistence.test_boot import WITHIN, await_routes, has_route, made
from selftests.live.rig import Rig, RigHost

BUS = "mkdir -p /run/dbus && dbus-daemon --system --fork >/dev/null 2>&1"
NM_STOPPED = "pid=$(cat /run/NetworkManager/NetworkManager.pid); kill $pid; tail --pid=$pid -f /dev/null"
ANSWERING = "timeout 20 sh -c 'until {}; do :; done' >/dev/null 2>&1"


def await_state(rig: Rig, plan: Topology, before: object) -> None:
    """Returns when everything that is configured on the hosts is as before."""
    deadline = time.monotonic() + WITHIN
    while state.fingerprint(rig.lab.nodes) != before:
        assert time.monotonic() < deadline, [name for name in rig.hosts if not has_route(rig, plan, name)]
    await_routes(rig, plan)


def with_a_bus(host: RigHost, daemon: object, devices: int) -> daemons.Networkd:
    """Networkd started again, where networkctl reaches it."""
    assert isinstance(daemon, daemons.Networkd)
    daemon.stop()
    daemons.shell(host, BUS)
    daemon.start()
    # until then it brings up what another takes down
    daemons.shell(host, ANSWERING.format(f'[ $(networkctl list | grep -c " configured") -ge {devices} ]'))
    return daemon


@pytest.mark.parametrize(("tool", "shape"), [("networkd", "star"), ("networkd", "flood-list"), ("netplan", "star")])
def test_networkd_keeps_the_overlay(tmp_path: Path, tool: str, shape: str) -> None:
    """A restart, a reload and a reconfiguration of each device leave what networkd has made as it was."""
    with made(tool, shape, tmp_path) as (rig, plan, running):
        before = state.fingerprint(rig.lab.nodes)
        for name, host in rig.hosts.items():
            with_a_bus(host, running[name], len(plan.devices(name)))
        await_state(rig, plan, before)

        for host in rig.hosts.values():
            daemons.shell(host, "networkctl reload")
        await_state(rig, plan, before)

        for name, host in rig.hosts.items():
            daemons.shell(host, f"networkctl reconfigure {' '.join(plan.devices(name))}")
        await_state(rig, plan, before)


def without_carrier(rig: Rig, plan: Topology, running: object, until: str) -> None:
    """Takes the carrier of the hub's bridge, until a command on the hub succeeds; AssertionError if it never does."""
    with_a_bus(rig.hosts["hub"], running, len(plan.devices("hub")))
    down = "; ".join(f"ip link set {port} down" for port in plan.ports("hub"))
    # again and again: a networkd that still starts brings them up
    daemons.shell(rig.hosts["hub"], ANSWERING.format(until).replace("do :", f"do {down}"))


def test_networkd_keeps_the_route_without_a_carrier(tmp_path: Path) -> None:
    """The written files keep a bridge's multicast route when the bridge has lost its carrier."""
    with made("networkd", "star", tmp_path) as (rig, plan, running):
        device = plan.node("hub").device
        without_carrier(rig, plan, running["hub"], f'networkctl list | grep -q "{device} .*no-carrier"')

        assert has_route(rig, plan, "hub")


def test_without_the_written_settings_networkd_forgets_the_route(tmp_path: Path) -> None:
    """Files that do not ignore the carrier lose the multicast route with it (systemd issue 10143)."""
    with made("networkd", "star", tmp_path) as (rig, plan, running):
        settings = "|".join(networkd.WITHOUT_CARRIER)
        daemons.shell(rig.hosts["hub"], f"sed -i -E '/^({settings})=/d' {networkd.FOLDER}/*.network")

        without_carrier(rig, plan, running["hub"], f"! ip route | grep -q {plan.multicast_route}")


def test_networkmanager_keeps_the_overlay(tmp_path: Path) -> None:
    """A restart, a reload of the files and a reapply leave what NetworkManager has made as it was."""
    with made("networkmanager", "star", tmp_path) as (rig, plan, _):
        before = state.fingerprint(rig.lab.nodes)
        for host in rig.hosts.values():
            daemons.shell(host, f"{NM_STOPPED}\n{NETWORK_MANAGER} --config=/run/nm.conf")
            daemons.shell(host, ANSWERING.format("nmcli -t general status | grep -q connected"))
        await_state(rig, plan, before)

        for name, host in rig.hosts.items():
            daemons.shell(host, f"nmcli connection reload && nmcli device reapply {plan.node(name).device}")
        await_state(rig, plan, before)


@pytest.mark.parametrize(
    ("tool", "again"),
    [("ifupdown", f"ifdown -i {ifupdown.FILE} {{0}} && ifup -i {ifupdown.FILE} {{0}}"), ("shell", None)],
    ids=["ifupdown", "shell"],
)
def test_a_restart_makes_the_same_overlay(tmp_path: Path, tool: str, again: str | None) -> None:
    """What takes the overlay away and makes it again (ifdown and ifup, the unit's restart) makes the same."""
    with made(tool, "star", tmp_path) as (rig, plan, _):
        nodes = [rig.lab.nodes[name] for name in rig.hosts]
        before = readback.read(nodes)
        for name, host in rig.hosts.items():
            command = again.format(plan.node(name).device) if again else f"{shell.SCRIPT} down && {shell.SCRIPT} up"
            daemons.shell(host, command)
        await_routes(rig, plan)
        after = readback.read(nodes)

    for node in plan.nodes:
        assert list(differences(plan, node, before[node.name], after[node.name])) == []

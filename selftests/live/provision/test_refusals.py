"""
`--provision` rejects hosts with existing configuration, reports it with the command to run, and changes nothing.

    hub, spoke1, spoke2 without an overlay; something in its way on one of them
"""

from __future__ import annotations

import getpass
from collections.abc import Callable
from ipaddress import IPv4Network
from typing import Any

import pytest

from lab import provision
from lab.errors import EnvironmentProblem
from lab.model import Change, TunnelOptions
from lab.overlay import placement
from lab.provision import Provisioned
from lab.stack.changes import addr_add, addr_del, bridge, link_add, link_del, route_add, route_del
from lab.topology import topologies
from lab.tunnels.vxlan import vxlan
from selftests import plain
from selftests.live.conftest import Reach
from selftests.live.provision.runs import QUICK, Run, looked, overlay_on
from selftests.live.rig import Rig

BRIDGE = "bridge0"


@pytest.fixture
def set_up(rig: Rig, reach: Reach) -> Callable[..., Provisioned]:
    """Sets the overlay up from here, without pytest."""

    def start(**fields: Any) -> Provisioned:
        topology = topologies.star(2, TunnelOptions(kind="vxlan"))
        made = provision.provision(reach(rig.specs).machines, topology, **fields)
        assert all(overlay_on(rig).values())
        return made

    return start


ADDRESS = {"device": "lo", "address": "172.16.254.9/32"}
ROUTE = {"to": "224.0.0.0/4", "device": "ens3"}


@pytest.mark.parametrize(
    ("host", "change", "undo", "found", "remedy"),
    [
        (
            "hub",
            link_add(BRIDGE, bridge()),
            link_del(BRIDGE),
            "there is a device bridge0 (bridge) (to see it: ip -d link show dev bridge0)",
            "remove --provision",
        ),
        (
            "spoke1",
            addr_add(**ADDRESS),
            addr_del(**ADDRESS),
            "172.16.254.9/32 is on lo (to see it: ip addr show dev lo)",
            "--overlay-subnet=",
        ),
        (
            "spoke2",
            route_add(**ROUTE),
            route_del(**ROUTE),
            "there is a route 224.0.0.0/4 dev ens3 (to see it: ip route show 224.0.0.0/4)",
            "--replace-routes",
        ),
        (
            "spoke1",
            link_add("own", vxlan(9, remote="10.0.0.197")),
            link_del("own"),
            "there is a tunnel own (vxlan) to hub (to see it: ip -d link show dev own)",
            "remove --provision",
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
    """A conflict: one message names it and the command to run; nothing is changed."""
    with rig.lab.nodes[host].changed(change, undo):
        before = looked(rig)
        with pytest.raises(EnvironmentProblem) as refusal:
            set_up()
        assert looked(rig) == before

    assert f"\n  {host}: {found}" in refusal.value.message
    assert remedy in str(refusal.value.remedy)


def test_a_refusal_is_one_message(rig: Rig, run: Callable[..., Run]) -> None:
    """Pytest ends before any test, with only the message."""
    with rig.lab["spoke2"].node.changed(route_add(**ROUTE), route_del(**ROUTE)):
        status, said = run().ended()

    assert status == 4
    assert said.startswith("ERROR: --provision does not change existing configuration")
    assert "Traceback" not in said


def test_a_refused_change_leaves_all_hosts_as_they_were(
    rig: Rig, set_up: Callable[..., Provisioned], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One host rejects a change: the message names it and the command, and the others are restored, too."""
    monkeypatch.setattr(placement, "in_the_way", lambda *_: [])  # another program was quicker than the second check
    with rig.lab["spoke2"].node.changed(route_add(**ROUTE), route_del(**ROUTE)):
        rig.lab["spoke2"].node.apply(link_add("vxlan2", bridge()))
        before = looked(rig)
        with pytest.raises(
            EnvironmentProblem, match=r"spoke2: `ip link add vxlan2 .*` failed: File exists\nthe hosts are unchanged"
        ):
            set_up()
        assert looked(rig) == before
        rig.lab["spoke2"].node.apply(link_del("vxlan2"))


def test_a_conflicting_route_is_replaced_on_request(rig: Rig, set_up: Callable[..., Provisioned]) -> None:
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
    with rig.lab["spoke1"].node.changed(addr_add(**ADDRESS), addr_del(**ADDRESS)):
        set_up(subnet=IPv4Network("172.16.253.0/24")).restore()


def test_two_runs_do_not_share_hosts(rig: Rig, held: Callable[..., Run], run: Callable[..., Run]) -> None:
    """The message to the second run names the run that uses the hosts; the first one's overlay is not touched."""
    first = held()

    status, said = run().ended()

    assert status == 4
    assert f"in use by the run of {getpass.getuser()}@" in said
    assert f"process {first.process.pid}" in said
    assert all(overlay_on(rig).values())
    first.interrupted()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--provision",), "--provision requires --hosts="),
        (("--replace-routes",), "--replace-routes requires --provision"),
        (("--provision", "--hosts=a,b", "--overlay-subnet=nonsense"), "--overlay-subnet=nonsense: "),
    ],
    ids=["hosts", "provision", "subnet"],
)
def test_options_that_make_no_sense(arguments: tuple[str, ...], message: str) -> None:
    """One line names what is missing."""
    done = plain.run(*QUICK, *arguments)

    assert done.returncode == 4
    assert message in done.stderr


def test_without_root_nothing_can_be_set_up(rig: Rig, run: Callable[..., Run]) -> None:
    """The message to an ordinary user names the way to become root."""
    status, said = run(*QUICK, "--hosts=hub,opc@spoke1").ended()

    assert status == 4
    assert "--provision requires root on opc@spoke1 (spoke1)" in said
    assert "--sudo" in said

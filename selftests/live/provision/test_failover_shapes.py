"""
`--provision` of a hub with a standby, and of two hubs with STP: there for the run, gone after it, without a loop.

    standby   hub: bridge0 <- tunnels      spoke1, the second host: the same tunnels, without the hub's address
    STP       spoke2, spoke3: bridge0 <- isolated tunnels to hub and to spoke1, the second hub

That every host is as before, to the last line of `ip -d`, is shown by the teardown of `rig` after every test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from lab.model import TunnelOptions
from lab.overlay import plan as overlay_plan
from lab.topology import designs
from selftests import plain
from selftests.live.conftest import on_this_kernel
from selftests.live.provision.runs import (
    DELIVERY,
    QUICK,
    SETTING_UP,
    Run,
    devices,
    killed,
    require_nothing_left,
    require_passed,
)
from selftests.live.rig import Rig

HOSTS = "--hosts=hub,spoke1,spoke2,spoke3"
SHAPES = ("standby", "two-hubs-stp")
FEW = 5000  # frames; a loop of this kernel forwards a hundred thousand in a second
LOSSY = (
    "add table inet lossy; add chain inet lossy input { type filter hook input priority 0; }; "
    "add rule inet lossy input ip saddr 10.0.0.25 udp dport 4789 drop"
)
"""Drops what the second hub's tunnels bring; what is sent to it passes."""


@pytest.fixture(scope="module")
def clean_rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Four hosts: the least number that these shapes have."""
    with on_this_kernel(tmp_path_factory.mktemp("clean"), spokes=3, overlay=False, shared=True) as made:
        yield made


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_is_there_for_the_run(rig: Rig, run: Callable[..., Run], shape: str) -> None:
    """The tests find the overlay in the requested shape and pass; then it is removed."""
    _, said = run(f"--topology={shape}", HOSTS, DELIVERY, "tests/prerequisites", "tests/redundancy").ended()

    require_passed(rig, said, shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_killed_run_leaves_nothing(rig: Rig, run: Callable[..., Run], shape: str) -> None:
    """When the controller is killed, each host, the standby too, takes its part away by itself."""
    made = run(f"--topology={shape}", HOSTS, *SETTING_UP).until_ready()
    assert set(devices(rig)) == set(rig.hosts)

    killed(made)

    require_nothing_left(rig)


def test_no_frame_circles_where_bpdus_are_lost(rig: Rig, run: Callable[..., Run]) -> None:
    """A spoke that does not receive the second hub's BPDUs uses both tunnels, and forwards nothing between them."""
    spoke = rig.lab["spoke2"].node
    assert spoke.run("nft", LOSSY)["status"] == 0
    try:
        made = run("--topology=two-hubs-stp", HOSTS, *SETTING_UP).until_ready()
        ports = rig.lab.nodes["spoke2"].run("bridge", "-d", "link")["output"]
        forwarded = rig.lab.nodes["hub"].statistics("bridge0")["rx_packets"]
        killed(made)
    finally:
        spoke.run("nft", "delete table inet lossy")
    require_nothing_left(rig)

    assert ports.count("state forwarding") == ports.count("isolated on") == 2, ports
    assert 0 < forwarded < FEW


def test_a_standby_with_the_address_is_refused(rig: Rig, run: Callable[..., Run]) -> None:
    """The second host has the hub's address already: it would send beside the hub, so nothing is changed."""
    node = rig.lab["spoke1"].node
    node.run("ip", "addr", "add", "10.0.0.197/32", "dev", "lo")
    try:
        status, said = run("--topology=standby", HOSTS, *QUICK).ended()
        assert devices(rig) == {}
    finally:
        node.run("ip", "addr", "del", "10.0.0.197/32", "dev", "lo")

    assert status == 4, said
    assert "10.0.0.197/32 is on lo, the hub's address (to see it: ip addr show dev lo)" in said


def test_the_second_port_of_a_spoke_waits_for_stp() -> None:
    """On live hosts a spoke runs STP, and its first port is isolated, before it has a second one."""
    topology = designs.live(designs.topology("two-hubs-stp", 2, TunnelOptions(), 9000))
    spoke = topology.node("spoke1")
    steps = [
        (verb, fields["device"], fields.get("isolated") or fields.get("data"))
        for verb, fields in overlay_plan.changes(topology, spoke)
    ]

    second = next(at for at, (verb, device, _) in enumerate(steps) if (verb, device) == ("link_add", "gretap2"))
    assert ("bridge_port", "gretap1", 1) in steps[:second]
    assert ("link_set", "bridge0", [["IFLA_BR_STP_STATE", 1]]) in steps[:second]
    assert steps[second + 1] == ("bridge_port", "gretap2", 1)


@pytest.mark.parametrize("shape", SHAPES)
def test_three_hosts_are_too_few(shape: str) -> None:
    """One line names how many hosts are expected."""
    done = plain.run(*QUICK, "--provision", f"--topology={shape}", "--hosts=a,b,c")

    assert done.returncode == 4
    assert f"--topology={shape}: expected 4 hosts; --hosts names 3" in done.stderr

"""
`--provision` of the designs without a hub: there for the run, gone after it, also when the run is killed.

    pytest --hosts=hub,spoke1,spoke2 --provision --topology=mesh

That every host is as before, to the last line of `ip -d`, is shown by the teardown of `rig` after every test.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from selftests import plain
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

SHAPES = {"pair": "spoke1,hub", "mesh": "spoke2,hub,spoke1", "flood-list": "hub,spoke1,spoke2"}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_is_there_for_the_run(rig: Rig, run: Callable[..., Run], shape: str) -> None:
    """The delivery tests find the overlay in the requested shape and pass; then it is removed."""
    _, said = run(f"--topology={shape}", f"--hosts={SHAPES[shape]}", DELIVERY, "tests/prerequisites").ended()

    require_passed(rig, said, shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_killed_run_leaves_nothing(rig: Rig, run: Callable[..., Run], shape: str) -> None:
    """When the controller is killed, each host takes its part away by itself."""
    named = SHAPES[shape]
    made = run(f"--topology={shape}", f"--hosts={named}", *SETTING_UP).until_ready()
    assert set(devices(rig)) == set(named.split(","))

    killed(made)

    require_nothing_left(rig)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_there_is_refused(rig: Rig, run: Callable[..., Run], shape: str) -> None:
    """A tunnel between two of the hosts is a conflict: it is named, and nothing is changed."""
    node = rig.lab.nodes["spoke1"]
    node.run("ip", "link", "add", "own", "type", "vxlan", "id", "9", "remote", "10.0.0.197", "dstport", "4789")
    try:
        status, said = run(f"--topology={shape}", f"--hosts={SHAPES[shape]}", *QUICK).ended()
        assert devices(rig).keys() == {"spoke1"}
    finally:
        node.run("ip", "link", "del", "own")

    assert status == 4, said
    assert "there is a tunnel own (vxlan) to spoke" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--topology=pair", "--hosts=a,b,c"), "--topology=pair: expected 2 hosts; --hosts names 3"),
        (("--topology=mesh", "--hosts=a,b,c", "--spokes=2"), "--spokes=2: --hosts names 3 spokes; remove --spokes"),
        (("--topology=flood-list", "--hosts=a,b", "--tunnel=gretap"), "the flood-list design supports only vxlan"),
    ],
    ids=["pair", "spokes", "tunnel"],
)
def test_what_a_shape_cannot_be(arguments: tuple[str, ...], message: str) -> None:
    """One line names what is expected."""
    done = plain.run(*QUICK, "--provision", *arguments)

    assert done.returncode == 4
    assert message in done.stderr

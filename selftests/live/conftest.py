"""Live hosts for the tests of what reaches them: three sshds in the nodes of a lab on this kernel."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import execnet
import pytest

from lab import laboratory, live
from lab.clouds.providers import provider
from lab.laboratory import Lab
from lab.live import LiveLab
from lab.machines import choose
from lab.machines.live import hosts, ssh
from lab.machines.live.ssh_link import Login
from lab.model import Topology, TunnelOptions, Underlay
from lab.topology import topologies
from selftests.live.rig import Rig, missing


def plan(spokes: int = 2) -> Topology:
    """The overlay of a rig that is like a lab's: over VXLAN, which this kernel has."""
    return topologies.star(spokes, TunnelOptions(kind="vxlan"))


@contextlib.contextmanager
def on_this_kernel(
    directory: Path,
    *,
    spokes: int = 2,
    overlay: bool = True,
    topology: Topology | None = None,
    routers: int = 0,
    prepare: Callable[[Lab], None] = lambda lab: None,
    shared: bool = False,
    **fields: Any,
) -> Iterator[Rig]:
    """
    Hosts in a lab of this kernel, for the length of a block; without root or sshd, tests are skipped.

    `prepare` changes the lab before the hosts start; `shared` is `Rig.share_connections`; `fields` are `Rig`'s.
    """
    if lack := missing():
        pytest.skip(lack)
    with contextlib.ExitStack() as ending:
        starting = choose.start(choose.choose("host", "vxlan"), execnet.Group())
        ending.callback(starting.close)
        underlay = Underlay(provider("oci"), routers)
        lab = laboratory.build(starting.machine(), topology or plan(spokes), underlay, overlay=overlay)
        prepare(lab)
        made = Rig(lab, directory, **fields)
        ending.callback(made.close)
        if shared:
            made.share_connections()
        yield made


def looked_at(connected: ssh.Connected) -> LiveLab:
    """The live hosts as a lab."""
    lab = live.look(connected.machines, Underlay(provider("oci"))).lab
    assert lab is not None
    return lab


@pytest.fixture(scope="session")
def shared_rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Hosts with the overlay."""
    with on_this_kernel(tmp_path_factory.mktemp("rig"), shared=True) as made:
        yield made


@contextlib.contextmanager
def leaving_nothing(rig: Rig) -> Iterator[Rig]:
    """Hosts on which, after a block, there is no file and no process that was not there before it."""
    before = {name: host.files() for name, host in rig.hosts.items()}
    yield rig
    left = {name: processes for name, host in rig.hosts.items() if (processes := host.left())}
    assert not left
    changed = {name: files for name, host in rig.hosts.items() if (files := before[name] ^ host.files())}
    assert not changed


@pytest.fixture
def rig(shared_rig: Rig) -> Iterator[Rig]:
    """The hosts; after the test there is no file and no process on them that was not there before it."""
    with leaving_nothing(shared_rig):
        yield shared_rig


Reach = Callable[..., ssh.Connected]


@pytest.fixture
def reach(rig: Rig) -> Iterator[Reach]:
    """Connects with an ssh inside the cloud network, so that it meets the network's own answers; closed at the end."""
    made: list[ssh.Connected] = []

    def connect(
        specs: str, *, config: Path | None = None, timeout: float | None = None, **fields: Any
    ) -> ssh.Connected:
        login = Login(str(config or rig.inner_config), **fields)
        with rig.entered():
            made.append(ssh.reach(hosts.parse(specs), login, timeout=timeout))
        return made[-1]

    yield connect
    for connected in made:
        connected.close()

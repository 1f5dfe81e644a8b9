"""Clean hosts for the tests of `--provision`, which must be as before after each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from selftests.live.conftest import on_this_kernel
from selftests.live.provision.runs import QUICK, Run, looked, overlay_on
from selftests.live.rig import Rig


@pytest.fixture(scope="session")
def clean_rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Hosts as a cloud hands them out."""
    with on_this_kernel(tmp_path_factory.mktemp("clean"), overlay=False) as made:
        yield made


@pytest.fixture
def rig(clean_rig: Rig) -> Iterator[Rig]:
    """The hosts; after the test no process is left on them, and every line that describes them is as before."""
    before = looked(clean_rig)
    yield clean_rig
    assert {name: left for name, host in clean_rig.hosts.items() if (left := host.left())} == {}
    after = looked(clean_rig)
    changed = {look: set(before[look]) ^ set(after[look]) for look in before if before[look] != after[look]}
    assert not changed


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

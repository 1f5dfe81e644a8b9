"""Guests that end with the test that wanted them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import execnet
import pytest

from lab.machines.guests import guest
from selftests.machines.guests import Family


@pytest.fixture
def group() -> Iterator[execnet.Group]:
    """Where a test's gateways belong; ended after it."""
    group = execnet.Group()
    yield group
    group.terminate(timeout=1.0)


@pytest.fixture
def launch() -> Iterator[Callable[..., guest.Booting]]:
    """Boots guests and ends them after the test."""
    launched: list[guest.Booting] = []

    def boot(**settings: object) -> guest.Booting:
        launched.append(guest.Booting(**settings))  # type: ignore[arg-type]
        return launched[-1]

    yield boot
    for booting in launched:
        family = Family(booting.pid)
        booting.close()
        family.await_end()


@pytest.fixture(scope="module")
def shared() -> Iterator[execnet.Gateway]:
    """A gateway to one guest for all tests that leave it as it is."""
    group = execnet.Group()
    booting = guest.Booting()
    yield booting.gateway(group, "shared")
    booting.close()
    group.terminate(timeout=1.0)

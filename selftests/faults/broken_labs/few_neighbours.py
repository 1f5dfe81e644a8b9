"""
For inner runs in a guest: its kernel has room for few neighbours.

    pytest --kernel=guest -p selftests.faults.broken_labs.few_neighbours
"""

from __future__ import annotations

import pytest

from lab.machines.base import Machine
from lab.machines.node import Node
from lab.probes.host_state.neighbour_tables import LIMIT

ROOM = 2


@pytest.fixture(scope="session", autouse=True)
def few_neighbours(machine: Machine) -> None:
    """Lower the limit in the guest's own namespace."""
    Node.home("guest", machine).write_sysctls({LIMIT: ROOM})

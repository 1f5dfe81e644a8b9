"""
Hosts that are still busy with what they were sent without waiting are restored like any others.

    tell(hub), tell(spoke1), tell(spoke2)   restore() --> undo on each, in a thread for each
"""

from __future__ import annotations

import time

from lab import provision
from lab.machines.node import Agent
from lab.model import TunnelOptions
from lab.topology import topologies
from selftests.live.conftest import Reach
from selftests.live.rig import Rig

BUSY = "0.5"
SOON = 20.0  # seconds; an answer that was taken by another thread is missed after 60


def test_hosts_are_restored_while_they_are_busy(rig: Rig, reach: Reach) -> None:
    """Each host's answers reach the thread that restores it, and nothing is reported as lost."""
    machines = reach(rig.specs).machines
    provisioned = provision.provision(machines, topologies.star(2, TunnelOptions(kind="vxlan")))
    for machine in machines.values():
        machine.peers = [other for other in machines.values() if other is not machine]
    for node in provisioned.nodes.values():
        node.machine.tell([node.call(Agent.run, ["sleep", BUSY])])
    began = time.monotonic()

    provisioned.restore()

    assert time.monotonic() - began < SOON

"""
How fast a hub follows joins and leaves, and how many groups it takes, are measured as they are.

    spoke1 ==feed==> ( hub: bridge0, floods or is a querier ) ==> spoke2 joins and leaves
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab import laboratory
from lab.clouds.providers import provider
from lab.commands.figures.measuring import PRUNING, QUERIER
from lab.errors import CheckFailed
from lab.laboratory import BuiltLab
from lab.machines.base import Machine
from lab.model import TunnelOptions, Underlay
from lab.probes.performance import capacity, delays
from lab.stack.changes import bridge, link_set
from lab.topology import topologies

TUNNELS = {"local": "vxlan", "guest": "gretap"}
QUICK = 20  # hundredths of a second, of mcast_last_member_interval
TWICE = 2 * QUICK / 100  # seconds: mcast_last_member_count is 2
BUSY = 2.0  # seconds that a busy machine may add
FEW, MORE = 64, 128


@pytest.fixture
def lab(any_machine: Machine) -> Iterator[BuiltLab]:
    """A hub and two spokes."""
    topology = topologies.star(2, TunnelOptions(kind=TUNNELS[any_machine.kind]))
    with laboratory.build(any_machine, topology, Underlay(provider("oci"))) as built:
        yield built


def set_hub(lab: BuiltLab, **values: int) -> None:
    """Parameters of the hub's bridge, one after the other."""
    lab.hub.node.apply(*(link_set(lab.topology.bridge, bridge(**{name: value})) for name, value in values.items()))


def measured(lab: BuiltLab, beside: float = 0.0) -> delays.Delays:
    """The delays of the second spoke."""
    return delays.measure(lab.nodes, lab.topology, "spoke1", "spoke2", rate=500, beside=beside, pruning=PRUNING)


def test_a_hub_that_floods_has_no_delay_of_its_own(lab: BuiltLab) -> None:
    """The feed is at the member already, and goes on after it left."""
    found = delays.measure(lab.nodes, lab.topology, "spoke1", "spoke2", rate=500)

    assert 0 <= found.called < BUSY
    assert (found.report, found.leave) == (None, None)


@pytest.mark.parametrize("beside", [0.0, 500.0], ids=["alone", "beside another feed"])
def test_a_hub_that_prunes_takes_its_time(lab: BuiltLab, beside: float) -> None:
    """It forwards once it has the report, and for mcast_last_member_interval twice after that of the leave."""
    set_hub(lab, mcast_last_member_interval=QUICK, **QUERIER)

    found = measured(lab, beside)

    assert found.report is not None
    assert found.leave is not None
    assert 0 <= found.report <= found.called < BUSY
    assert TWICE - 5 * found.precision < found.leave < TWICE + BUSY


def test_a_join_without_its_report_is_named(lab: BuiltLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member whose reports do not reach a hub that prunes gets nothing of the feed: no delay is made of that."""
    set_hub(lab, **QUERIER)
    monkeypatch.setattr(delays, "JOINING", 0.3)
    done = lab["spoke2"].node.run("iptables", "-A", "OUTPUT", "-p", "igmp", "-j", "DROP")
    assert done["status"] == 0, done

    with pytest.raises(CheckFailed, match=r"^spoke2 joined [\d.]+ and received nothing of its feed within 0.3 s\n"):
        measured(lab)


def test_the_bridges_limit_is_named_and_its_fix_raises_it(lab: BuiltLab) -> None:
    """A hub forwards as many groups as it may list; with one more it floods all, until the fix that is printed."""
    set_hub(lab, mcast_hash_max=FEW, **QUERIER)
    measured(lab)  # it prunes now
    set_socket = lab["spoke2"].node.with_sysctl(capacity.MEMBERSHIPS, 7)

    with set_socket:
        few = capacity.measure(lab.nodes, lab.topology, "spoke1", "spoke2")

    assert FEW - 5 < few.groups < FEW
    assert few.limit == (
        f"with {few.groups + 1} groups, hub bridge0 switches its snooping off and floods every group"
        f" (mcast_hash_max {FEW})"
    )
    assert few.remedy == f"ip link set bridge0 type bridge mcast_hash_max {MORE} mcast_snooping 1"
    assert few.per_socket == 7

    done = lab.hub.node.run(*few.remedy.split())
    assert done["status"] == 0, done
    more = capacity.measure(lab.nodes, lab.topology, "spoke1", "spoke2")
    assert FEW < few.groups + more.groups < MORE + 1  # the groups that were left are still listed
    assert more.per_socket == 20


def test_no_capture_is_left(lab: BuiltLab) -> None:
    """The capture that keeps one feed alone is closed: a later one would miss the rest."""
    before = lab["spoke2"].node.read_net("packet").count("\n")
    measured(lab)
    assert lab["spoke2"].node.read_net("packet").count("\n") == before

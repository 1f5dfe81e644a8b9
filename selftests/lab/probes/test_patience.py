"""
Late is distinguished from lost: an arrival after the deadline is no fault of the overlay, and no verdict.

    spoke1 --( hub: bridge0 )-- netem, longer than the deadline -- spoke2
"""

import time

import pytest

from lab.errors import CheckFailed, TooSlow
from lab.probes.deadlines import BROKEN, ENOUGH, LIVE_LEAST, LIVE_MOST, TIMES, Flow, Learnt, Lost, Patience, presumed
from lab.stack.changes import link_set

DEADLINE = 0.05  # seconds; the queue holds what passes for four times as long
DELAY = "200ms"


@pytest.fixture
def slow_lab(lab):
    """A lab in which what the hub sends to spoke2 is late."""
    port = lab.topology.port("hub", "spoke2")
    done = lab.hub.node.run("tc", "qdisc", "add", "dev", port, "root", "netem", "delay", DELAY)
    if done["status"] != 0:
        pytest.skip(f"this kernel has no netem: {done['errors'].strip()}")
    return lab


def test_late_is_no_verdict(slow_lab):
    """A datagram that comes after the deadline is called late, and the check is not judged."""
    with slow_lab.listen(["hub", "spoke2"], grace=DEADLINE) as heard:
        slow_lab["spoke1"].udp.send(to=slow_lab.everyone)

    with pytest.raises(TooSlow, match="late: spoke2"):
        heard.exactly_once(at=["hub", "spoke2"])


def test_late_answers_are_no_verdict(slow_lab):
    """Where no marker shows that a host's answer is lost, as between live hosts, one after the deadline is late."""
    with pytest.raises(TooSlow, match="late: spoke2 answered after the deadline"):
        slow_lab["spoke1"].ping(slow_lab.everyone, grace=DEADLINE, nodes=None)


def test_lost_is_waited_for_once_only(lab):
    """A lab whose packets are lost is not waited for at every check: its patience has an end."""
    port = lab.topology.port("hub", "spoke2")
    lab.hub.node.apply(link_set(port, nomaster=True))
    waited = []
    for _ in range(3):
        with lab.listen(["spoke2"], grace=DEADLINE) as heard:
            lab["spoke1"].udp.send(to=lab.everyone)
        began = time.monotonic()
        with pytest.raises(CheckFailed, match="missing"):
            heard.exactly_once(at=["spoke2"])
        waited.append(time.monotonic() - began)

    assert waited[0] >= 1.0 > waited[2]


def test_patience_is_spent_by_waiting_in_vain():
    """An arrived packet costs no time; a missing one costs the wait for it."""
    patience, came = Patience(left=10.0), []

    with patience.waiting(came) as seconds:
        came.append("something")
    kept = patience.left
    with patience.waiting([]):
        time.monotonic()

    assert (seconds, kept) == (10.0, 10.0)
    assert patience.left < 10.0


def test_live_hosts_are_waited_for_as_long_as_they_have_shown_to_need():
    """At first as between continents; then many times what their slowest fence took, within bounds."""
    learnt = Learnt()
    assert learnt.seconds == LIVE_MOST

    for _ in range(ENOUGH):
        learnt.note(0.002)
    assert learnt.seconds == LIVE_LEAST

    learnt.note(0.03)
    assert learnt.seconds == pytest.approx(0.03 * TIMES)

    learnt.note(3.0)
    assert learnt.seconds == LIVE_MOST


@pytest.mark.parametrize(("kind", "shorter"), [("multicast", False), ("membership", True), ("broadcast", True)])
def test_reports_are_waited_for_where_datagrams_to_groups_are_lost(kind, shorter):
    """A route that loses datagrams to groups takes no report with it; a tunnel that is dead does."""
    lost = Lost(senders={("hub", "tunnel1"): "spoke1"})
    lost.ways.add(Flow("overlay", kind, "spoke1", "hub"))

    assert (lost.grace_at(2.0, "hub", "tunnel1") < BROKEN) is shorter


def test_reports_are_waited_for_shortly_where_anything_is_known_to_be_lost():
    """In a lab with another number of spokes the same cause may be at another port."""
    lost = Lost(senders={("hub", "tunnel1"): "spoke1"})
    assert lost.grace_at(2.0, "hub", "tunnel1") == 2.0

    lost.ways.add(Flow("overlay", "unicast", "hub", "spoke2"))
    assert lost.grace_at(2.0, "hub", "tunnel1") == BROKEN


KNOWN = ("hub", "spoke1", "spoke2")


def test_a_dead_way_to_the_hub_leads_to_no_further_spoke():
    """A loss between three hosts is assumed for a fourth behind the hub, and not for hosts that were tested."""
    found = {Flow("overlay", "unicast", "spoke1", "hub"), Flow("overlay", "broadcast", "hub", "spoke2")}

    assert presumed(found, "hub", KNOWN, [*KNOWN, "spoke3"]) == {
        *found,
        Flow("overlay", "unicast", "spoke1", "spoke3"),
        Flow("overlay", "broadcast", "spoke3", "spoke2"),
    }


def test_a_lab_with_fewer_hosts_has_no_way_to_the_others():
    """Of the dead ways those between its own hosts are left."""
    found = {Flow("overlay", "unicast", "spoke2", "hub"), Flow("overlay", "unicast", "spoke1", "hub")}

    assert presumed(found, "hub", KNOWN, ["hub", "spoke1"]) == {Flow("overlay", "unicast", "spoke1", "hub")}


def test_a_dead_way_on_the_underlay_is_presumed_between_all_spokes():
    """Spokes were not tried with each other there."""
    found = {Flow("underlay", "unicast", "spoke1", "hub")}

    assert presumed(found, "hub", KNOWN, KNOWN) == {*found, Flow("underlay", "unicast", "spoke1", "spoke2")}

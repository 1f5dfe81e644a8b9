"""What a watch counts: latencies by two clocks that differ, silences, late arrivals, percentiles in bounded memory."""

from __future__ import annotations

import collections

import pytest

from lab.probes.deadlines import Flow, FlowKind
from lab.watch.exchange import Reception, Round, latencies
from lab.watch.ledger import Latencies, Ledger


def way(kind: FlowKind, sender: str = "hub", receiver: str = "spoke1") -> Flow:
    return Flow("overlay", kind, sender, receiver)


@pytest.mark.parametrize("ahead", [0, 5_000_000, -70_000_000_000])
def test_clocks_that_differ_change_no_latency(ahead: int) -> None:
    """By how many nanoseconds the receiver's clock is ahead cancels out, of broadcasts too."""
    passed = {
        way("unicast"): 300_000 + ahead,
        way("unicast", "spoke1", "hub"): 300_000 - ahead,
        way("broadcast"): 400_000 + ahead,
    }

    found = latencies(passed)

    assert found[way("unicast")] == pytest.approx(0.0003)
    assert found[way("broadcast")] == pytest.approx(0.0004)


def test_one_direction_alone_has_no_latency() -> None:
    """Without unicast in the other direction the difference of the clocks is unknown."""
    assert latencies({way("unicast"): 300_000, way("multicast"): 300_000}) == {}


def test_percentiles_are_exact_to_their_class() -> None:
    """Of a thousand latencies from 1 to 1000 ms, the percentiles are right to 5 %."""
    counted = Latencies()
    for number in range(1, 1001):
        counted.add(number / 1000)

    assert counted.percentile(0.5) == pytest.approx(0.5, rel=0.05)
    assert counted.percentile(0.99) == pytest.approx(0.99, rel=0.05)
    assert Latencies().percentile(0.5) is None


def rounds(ledger: Ledger, *copies: int) -> list[tuple[str, float]]:
    """What changes with rounds of one datagram each, a second apart, which arrived so often."""
    changes = []
    for when, count in enumerate(copies):
        made = Round({way("unicast"): Reception(copies=count)})
        changes += [(change.state, change.silent) for change in ledger.note(made, float(when))]
    return changes


def test_a_silence_lasts_from_arrival_to_arrival() -> None:
    """It is reported when it ends, counted while it lasts, and a time in which nothing was sent is none."""
    ledger = Ledger()

    assert rounds(ledger, 1, 1, 0, 0, 1) == [("lost", 0.0), ("works", 3.0)]

    (tally,) = ledger.tallies.values()
    assert (tally.sent, tally.lost, tally.silence) == (5, 2, 3.0)
    ledger.restart("spoke1", 100.0)
    ledger.note(Round({way("unicast"): Reception(copies=0)}), 101.0)
    assert tally.silence == 3.0


def test_what_arrives_late_is_waited_for_again() -> None:
    """A way on which datagrams are lost is not waited for, until one arrives after its round."""
    ledger = Ledger()
    rounds(ledger, 1, 0)
    assert ledger.dead == {way("unicast")}

    ledger.note(Round(late=collections.Counter({way("unicast"): 1})), 2.0)

    (tally,) = ledger.tallies.values()
    assert (tally.lost, tally.late, ledger.dead) == (1, 1, set())


def test_a_copy_that_comes_after_its_round_is_counted() -> None:
    """A state of its own, which ends with the next datagram that arrives once."""
    ledger = Ledger()
    rounds(ledger, 1)
    made = Round({way("unicast"): Reception(copies=1)}, repeated=collections.Counter({way("unicast"): 1}))

    assert [change.state for change in ledger.note(made, 1.0)] == ["duplicated"]
    assert [change[0] for change in rounds(ledger, 1)] == ["works"]
    assert ledger.total() == (3, 0, 1)

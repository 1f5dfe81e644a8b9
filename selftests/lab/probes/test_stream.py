"""
What a stream's arrivals mean: numbers that never came, came again or came late, and how long a receiver heard nothing.

    sent     0  1  2  3  4  5  6  7      one every 10 ms
    heard    0  1           5  6  7      lost 3, silent for 40 ms
"""

from __future__ import annotations

from array import array
from types import SimpleNamespace

import pytest

from lab.errors import EnvironmentProblem
from lab.probes.outage.outages import Arrivals, Outage, judged
from lab.probes.outage.stream import MOST_COPIES, Stream
from lab.topology import topologies

TICK = 10_000_000  # ns
NUMBERS = 40
SENT = [number * TICK for number in range(NUMBERS)]
WAY = 1000  # ns that a datagram takes


def heard(*numbers: int) -> Arrivals:
    """These numbers in this order, each when it was sent, or with the one before it if that was sent later."""
    times: list[int] = []
    for number in numbers:
        times.append(max([SENT[number] + WAY, *times[-1:]]))
    return Arrivals(array("I", numbers), array("Q", times))


def outage(arrivals: Arrivals, *events: tuple[str, int]) -> list[Outage]:
    return judged("spoke2", "broadcast", SENT, arrivals, events or [("steady", -1)])


def every(*, but: range = range(0)) -> list[int]:
    return [number for number in range(NUMBERS) if number not in but]


def test_nothing_is_missed() -> None:
    """A stream that arrived as sent has no loss and no silence."""
    (found,) = outage(heard(*every()))

    assert found == Outage("steady", "spoke2", "broadcast", NUMBERS, 0, 0, 0, 0.0, recovered=True)


def test_a_gap_is_a_silence() -> None:
    """Numbers that never arrived are lost, and the time between their neighbours is a silence."""
    (found,) = outage(heard(*every(but=range(10, 15))))

    assert (found.lost, found.recovered) == (5, True)
    assert found.silence == pytest.approx(6 * TICK / 1e9)


def test_a_gap_belongs_to_the_event_that_it_begins_after() -> None:
    """A packet under way at the time of the failure counts as lost by it, although it was sent before."""
    before, off, on = outage(
        heard(*every(but=range(10, 20))), ("before", -1), ("off", SENT[10] + 1), ("on", SENT[13] + 1)
    )

    assert [one.lost for one in (before, off, on)] == [0, 10, 0]
    assert [one.recovered for one in (before, off, on)] == [True, False, True]


def test_what_was_lost_before_an_event_is_not_its_loss() -> None:
    """Numbers that were all sent before an event belong to the one before, however late the next one arrives."""
    late = heard(*every(but=range(10, 20)))

    before, after = outage(late, ("before", -1), ("after", SENT[19] + 1))

    assert (before.lost, after.lost) == (10, 0)


def test_a_stream_that_stays_silent_has_not_recovered() -> None:
    """A stream that ends in silence is silent to its end."""
    (found,) = outage(heard(*every(but=range(20, NUMBERS))))

    assert (found.lost, found.recovered) == (20, False)
    assert found.silence == pytest.approx(20 * TICK / 1e9, abs=0.001)


def test_a_second_copy_is_a_repetition() -> None:
    """A number that comes twice is repeated, and not out of order."""
    (found,) = outage(heard(0, 1, 2, 1, *range(3, NUMBERS)))

    assert (found.lost, found.repeated, found.disordered) == (0, 1, 0)


def test_a_late_number_is_out_of_order() -> None:
    """A number that comes after a later one is out of order, and neither lost nor a silence."""
    (found,) = outage(heard(0, 2, 1, *range(3, NUMBERS)))

    assert (found.lost, found.repeated, found.disordered, found.silence) == (0, 0, 1, 0.0)


def test_a_sender_that_pauses_makes_no_silence() -> None:
    """A pause between two numbers that both arrived is no outage."""
    later = [when + (100 * TICK if number >= 20 else 0) for number, when in enumerate(SENT)]
    arrivals = Arrivals(array("I", range(NUMBERS)), array("Q", [when + WAY for when in later]))

    (found,) = judged("spoke2", "broadcast", later, arrivals, [("steady", -1)])

    assert (found.lost, found.silence) == (0, 0.0)


@pytest.mark.parametrize(
    ("copies", "known"), [(0, False), (MOST_COPIES, True)], ids=["a machine that is busy", "a loop"]
)
def test_what_a_receiver_did_not_read_in_time_is_not_a_loss(copies: int, known: bool) -> None:
    """Where a socket overflowed there is no verdict, unless copies filled it: then frames circle."""
    stream = Stream({"spoke1": SimpleNamespace(machine=None)}, topologies.star(2), "spoke1", ["spoke2"])  # type: ignore
    stream._sent, stream._dropped, stream._events = array("Q", SENT), {0: 7}, [("lost", 0)]
    arrivals = heard(*every(but=range(10, 15)), *[NUMBERS - 1] * copies)
    stream._heard = {0: dict.fromkeys(range(3), arrivals)}

    if known:
        assert [one.lost for one in stream.outages()] == [5] * 3
    else:
        with pytest.raises(EnvironmentProblem, match="spoke2 received 7 datagrams of the stream that were not read"):
            stream.outages()

"""
The highest rate that arrives whole at every receiver (RFC 2544 section 26.1, RFC 3918 section 4.3), and what limits it.

First as fast as it goes, the best of several short trials: other programs, and other guests of the processor, can only
make a sender slower.  If some of that is lost, by halving between what arrived and what was sent.  A trial passes when
no receiver lost a datagram; one that fails is repeated once, since a busy machine stops for moments that have nothing
to do with a rate (ETSI GS NFV-TST 009, binary search with loss verification).
"""

from __future__ import annotations

from dataclasses import dataclass

from lab.errors import CheckFailed
from lab.probes.performance.load import Load, LoadKind, RateTrial

SECONDS = 1.0  # of all trials as fast as it goes together
FASTEST = 4  # of these trials: the best of them differs less than one as long as all
SEARCHING = 0.5  # of the seconds, for each trial of a search
PROBE = 200.0  # datagrams a second: what does not arrive at this rate does not arrive
STEP = 1.05  # between two rates that count as the same
MOST_TRIALS = 12
LATE = 0.9  # of the wanted rate: a sender below has been late
SHARED = 0.25  # of the time: who waits longer than that for a processor has not enough of it


@dataclass(frozen=True)
class Throughput:
    """A rate in datagrams a second at which none was lost, and what is in the way of a higher one."""

    kind: LoadKind
    receivers: int
    rate: float
    limit: str
    trials: tuple[RateTrial, ...]


def measure(load: Load, kind: LoadKind, *, most: float = 0.0, seconds: float = SECONDS) -> Throughput:
    """
    The loss-free rate of a kind of load; `most` datagrams a second at most (0: no bound).

    CheckFailed when a receiver does not hear even a few.
    """
    first = load.send(kind, rate=PROBE if not most else min(PROBE, most), seconds=seconds / 4)
    deaf = [name for name, heard in first.heard.items() if not heard.received]
    if deaf:
        raise CheckFailed(f"{' and '.join(deaf)} received none of {first.sent} datagrams by {kind}")
    trials = [_verified(load, kind, most, seconds) if most else _fastest(load, kind, seconds / FASTEST)]
    passed, failed = [first], list[RateTrial]()
    while len(trials) < MOST_TRIALS:
        (failed if trials[-1].lost else passed).append(trials[-1])
        best, worst = max(one.rate for one in passed), min((one.rate for one in failed), default=0.0)
        if not worst or worst <= best * STEP:
            break
        # what arrived of a load that is too much is near what a smaller one may be, and halving is never far off
        guess = max(one.received for one in failed[-1].heard.values()) / failed[-1].seconds
        between = (best + worst) / 2 if len(failed) > 1 or not best * STEP < guess < worst / STEP else guess
        trials.append(_verified(load, kind, between, seconds * SEARCHING))
    top = max(passed, key=lambda one: one.rate)
    limit = limit_of(failed[-1]) if failed else sender_limit(top, most)
    return Throughput(kind, len(top.heard), top.rate, limit, (first, *trials))


def _fastest(load: Load, kind: LoadKind, seconds: float) -> RateTrial:
    """Of trials as fast as it goes the fastest, or if each lost datagrams the one that lost least."""
    trials = [load.send(kind, rate=0, seconds=seconds) for _ in range(FASTEST)]
    return max(trials, key=lambda one: (-one.lost, one.rate))


def _verified(load: Load, kind: LoadKind, rate: float, seconds: float) -> RateTrial:
    """A trial, or of two the one that lost less."""
    trial = load.send(kind, rate=rate, seconds=seconds)
    return min(trial, load.send(kind, rate=rate, seconds=seconds), key=lambda one: one.lost) if trial.lost else trial


def limit_of(trial: RateTrial) -> str:
    """What dropped most of a trial that lost something, and how many datagrams."""
    sockets = [(heard.dropped, name) for name, heard in trial.heard.items()]
    dropped, receiver = max(sockets)
    first = trial.drops[0] if trial.drops else None
    if first and first.packets > dropped:
        where = f"{first.host} {first.device}".rstrip()
        return f"{where}: {first.what} dropped {first.packets} packets"
    if dropped:
        heard = trial.heard[receiver]
        share = heard.waited / (heard.ran + heard.waited or 1.0)
        busy = f", its process waited {share:.0%} of its time for a processor" if share > SHARED else ""
        return f"{receiver}: receive buffer, {dropped} datagrams dropped{busy}"
    return f"no host counted the {trial.lost} datagrams that were lost: the network between the hosts"


def sender_limit(trial: RateTrial, most: float) -> str:
    """Why a sender whose datagrams all arrived sends no more."""
    if most and trial.rate >= most * LATE:
        return f"not reached: {most:.0f} a second was the most that was allowed"
    share = trial.waited / trial.seconds if trial.seconds else 0.0
    if share > SHARED:
        return f"the sender: its process waited {share:.0%} of its time for a processor"
    return "the sender: its processor is at its limit"

"""
The figures of `overcast load`, as builtins for JSON.

    rates by kind of traffic and tunnel; at a part of the multicast rate: latency, processor time, join and leave
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lab.errors import CheckFailed, EnvironmentProblem, OvercastError
from lab.laboratory import BuiltLab, Lab
from lab.machines.base import Agent
from lab.probes.performance import capacity, delays, throughput
from lab.probes.performance.load import KINDS, Load, LoadKind, RateTrial
from lab.probes.performance.throughput import Throughput
from lab.stack.changes import bridge, link_set

SHARES = (10, 50, 90)  # percent of the loss-free rate at which latency is measured
BURST = 8192  # datagrams: more than these receive buffers hold
DEFAULT_BUFFER = "net.core.rmem_default"
BUFFERS = (DEFAULT_BUFFER, "net.core.rmem_max")  # that a program has, and the most that it may ask for
USUAL = 212992  # octets of both, where they cannot be read
LATENCY = 0.4  # seconds of a trial for latency
COST = 1.0  # seconds of a trial for processor time, which kernels count in hundredths
SPARED = 1000.0  # datagrams a second at most: live hosts that are to be spared bursts
QUERIER = {"mcast_query_response_interval": 10, "mcast_querier": 1}  # a new one floods for its interval, in 1/100 s
PRUNING = 3.0  # seconds within which a querier of a lab prunes


@dataclass(frozen=True)
class LoadSettings:
    """UDP payload in octets, measurements of each rate, datagrams a second at most (0: no bound), SO_RCVBUF."""

    size: int
    repeat: int
    most: float
    buffer: int | None


def measure(labs: Sequence[Lab], wanted: LoadSettings) -> dict[str, Any]:
    """
    Every figure of the first lab, from its first spoke to all other hosts; of the others, multicast alone.

    A lab's hub snoops afterwards and does not forward every group any more.
    """
    lab = labs[0]
    live = not isinstance(lab, BuiltLab)
    sender = lab.spokes[0].name
    receivers = lab.others(sender)
    for node in lab.tapped if live else ():
        node.machine.call(Agent.untap, [node.handle])  # a capture of all that is sent would be measured too
    results = _rates(labs, sender, receivers, wanted)
    rate = results[0]["rate"]
    at = lab.topology.centre if lab.topology.centre in receivers else receivers[0]
    with _load(lab, receivers, wanted) as load:
        cost = load.send("multicast", rate=max(1.0, rate / 2), seconds=COST).cost(at)
        late = [_latency(load, share, rate, live) for share in SHARES]
    fan_out = []
    for count in _fewer(len(receivers)):
        with _load(lab, receivers[:count], wanted) as load:
            fan_out.append({"receivers": count, "rate": _measured(load, "multicast", wanted.most).rate})
    return {
        "sender": sender,
        "receivers": receivers,
        "size": wanted.size,
        "most": wanted.most,
        "throughput": results,
        "latency": late,
        "latency_is_spread": live,
        "bursts": list(_bursts(lab, receivers, wanted)),
        "fan_out": [*fan_out, {"receivers": len(receivers), "rate": rate}],
        "cost": {"host": at, "microseconds": round(1e6 * cost, 1)},
        **_membership(lab, rate, wanted.most),
    }


def _load(lab: Lab, receivers: Sequence[str], wanted: LoadSettings) -> Load:
    sender = lab.spokes[0].name
    return Load(lab.nodes, lab.topology, sender, receivers, size=wanted.size, buffer=wanted.buffer)


def _rates(labs: Sequence[Lab], sender: str, receivers: Sequence[str], wanted: LoadSettings) -> list[dict[str, Any]]:
    """The loss-free rates; kinds and tunnels take turns, so that a busy machine affects all of them."""
    with contextlib.ExitStack() as opened:
        loads = [opened.enter_context(_load(lab, receivers, wanted)) for lab in labs]
        turns: list[tuple[str, Load, LoadKind]] = [
            (lab.topology.options.kind, load, "multicast") for lab, load in zip(labs, loads, strict=True)
        ]
        turns += [(labs[0].topology.options.kind, loads[0], kind) for kind in KINDS[1:]]
        found: list[list[Throughput]] = [[] for _ in turns]
        for _ in range(wanted.repeat):
            for (_, load, kind), each in zip(turns, found, strict=True):
                each.append(_measured(load, kind, wanted.most))
    return [
        {"tunnel": "" if kind == "underlay" else tunnel, **_result(each)}
        for (tunnel, _, kind), each in zip(turns, found, strict=True)
    ]


def _membership(lab: Lab, rate: float, most: float) -> dict[str, Any]:
    """
    Join and leave delays in milliseconds, and how many groups a hub prunes; why there are none, if there are none.

    Live hosts are measured as they are; the hub of a lab also as a querier.
    """
    member = lab.spokes[-1].name
    found: dict[str, Any] = {"member": member, "delays": [], "delays_skipped": "", "capacity": None}
    try:
        found["delays"] += _delays(lab, member, rate, most)
        if not isinstance(lab, BuiltLab) or most:
            return {**found, "capacity_skipped": "in a lab without --load-max only: at its limit a hub floods"}
        lab.hub.node.apply(*(link_set(lab.topology.bridge, bridge(**{name: value})) for name, value in QUERIER.items()))
        found["delays"] += _delays(lab, member, rate, most, PRUNING)
        capable = capacity.measure(lab.nodes, lab.topology, lab.spokes[0].name, member)
    except OvercastError as lack:
        return {**found, "delays_skipped": "" if found["delays"] else lack.message, "capacity_skipped": lack.message}
    return {**found, "capacity": asdict(capable), "capacity_skipped": ""}


def _delays(lab: Lab, member: str, rate: float, most: float, pruning: float = 0.0) -> Iterator[dict[str, Any]]:
    """With no other feed, and beside one of half the rate; both feeds together are not more than is allowed."""
    allowed = (most or 2 * rate) / 2
    for beside in (0.0, min(rate, 2 * allowed) / 2):
        each = delays.measure(
            lab.nodes,
            lab.topology,
            lab.spokes[0].name,
            member,
            rate=min(delays.RATE, rate / 4, allowed),
            beside=beside,
            pruning=pruning,
        )
        times = {name: getattr(each, name) for name in ("called", "report", "leave", "precision")}
        yield {
            "beside": beside,
            **{name: None if time is None else round(1e3 * time, 3) for name, time in times.items()},
        }


def _fewer(receivers: int) -> Iterator[int]:
    """Numbers of receivers below this one: 1, 2, 4, ..."""
    count = 1
    while count < receivers:
        yield count
        count *= 2


def _measured(load: Load, kind: LoadKind, most: float) -> Throughput:
    try:
        return throughput.measure(load, kind, most=most)
    except CheckFailed as deaf:
        raise EnvironmentProblem(str(deaf), remedy="the overlay does not deliver; run pytest for the cause") from None


def _result(each: Sequence[Throughput]) -> dict[str, Any]:
    """The loss-free rates of a kind of load, one for each repetition; the lowest, which each reached, is the result."""
    rates = [one.rate for one in each]
    low = min(each, key=lambda one: one.rate)
    trials = [(trial.rate, trial.lost / trial.sent) for one in each for trial in one.trials if trial.sent]
    found = {"kind": low.kind, "receivers": low.receivers, "rates": rates, "limit": low.limit, "rate": low.rate}
    return {**found, "trials": trials, "spread": (max(rates) - low.rate) / max(rates)}


def _latency(load: Load, share: int, rate: float, several_clocks: bool) -> dict[str, float]:
    """At a share of the loss-free rate, in microseconds; `skew` between the first and the last receiver."""
    trial = load.send("multicast", rate=max(1.0, rate * share / 100), seconds=LATENCY)
    # the clocks of two hosts differ by more than a datagram takes: then the quickest one is taken for none
    base = min(_each(trial), default=0.0) if several_clocks else 0.0
    skews = (0.0, 0.0) if several_clocks else (trial.skew(50), trial.skew(99))
    figures = [trial.latency(percent) - base for percent in (50, 99, 100)]
    names = ("p50", "p99", "most", "skew50", "skew99")
    times = {name: round(1e6 * figure, 1) for name, figure in zip(names, (*figures, *skews), strict=True)}
    return {"share": share, "rate": trial.rate, **times}


def _each(trial: RateTrial) -> Iterator[float]:
    return (late / 1e9 for heard in trial.heard.values() for late in heard.latencies.values())


def _bursts(lab: Lab, receivers: Sequence[str], wanted: LoadSettings) -> Iterator[dict[str, Any]]:
    """
    How many datagrams in a row, as fast as they go, receive buffers hold of which nothing is read meanwhile.

    Nothing where live hosts are to be spared that.
    """
    if wanted.most and wanted.most <= SPARED:
        return
    sender, node = lab.spokes[0].name, lab[receivers[0]].node
    for name in BUFFERS:
        octets = int(node.sysctl(name) or USUAL) // (2 if name == DEFAULT_BUFFER else 1)  # the kernel doubles it
        fields: dict[str, Any] = {"size": wanted.size, "buffer": octets, "reading": False}
        with Load(lab.nodes, lab.topology, sender, receivers, **fields) as load:
            count = min(BURST, int(wanted.most or BURST))
            trial = load.send("multicast", rate=0, seconds=1.0, count=count)
        held = min(one.received for one in trial.heard.values())
        yield {"parameter": name, "buffer": octets, "sent": trial.sent, "held": held}

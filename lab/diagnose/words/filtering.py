"""What may hold, change or drop a node's frames: queueing disciplines, tc filters and firewalls, one line each."""

from __future__ import annotations

from collections.abc import Iterator

from lab.diagnose.words.devices import State
from lab.records import Filter, FirewallRule, Qdisc

USUAL_QDISCS = {"noqueue", "mq", "pfifo_fast", "fq_codel"}
SETTINGS = {
    **dict.fromkeys(("delay", "jitter"), " s"),
    **dict.fromkeys(("loss", "duplicate", "reorder", "corrupt"), " %"),
    "rate": " bit/s",
    "limit": "",
}
"""The units of what a queue does to packets."""


def qdiscs(state: State) -> Iterator[str]:
    for qdisc in state.get("qdiscs", ()):
        if qdisc.kind in USUAL_QDISCS or qdisc.kind in ("clsact", "ingress"):
            continue
        yield " ".join([f"qdisc {qdisc.kind} {qdisc.handle} dev {qdisc.dev} {qdisc.parent}", *settings(qdisc)])


def settings(qdisc: Qdisc) -> list[str]:
    """What a queue does to packets."""
    return [f"{name} {qdisc.settings[name]:g}{unit}" for name, unit in SETTINGS.items() if qdisc.settings.get(name)]


def filters(state: State) -> Iterator[str]:
    return map(line, state.get("filters", ()))


def line(entry: Filter) -> str:
    """One filter of traffic control."""
    does = [
        f"{action['kind']} {action['verdict']}"
        + (f" one in {action['random']['one_in']} {action['random']['verdict']}" if action.get("random") else "")
        for action in entry.actions
    ]
    words = [
        f"filter dev {entry.dev} {entry.direction}",
        f"protocol {entry.protocol}",
        entry.kind,
        entry.name,
        f"({entry.match})" if entry.match else "",
        f"classid {entry.classid}" if entry.classid else "",
        *does,
    ]
    return " ".join(word for word in words if word)


def firewall(state: State) -> Iterator[str]:
    """Every rule, and the policies that drop or stand beside rules."""
    entries = state.get("firewall", ())
    ruled = {(entry.tool, entry.family) for entry in entries if entry.rule}
    for entry in entries:
        if entry.unread:
            which = " ".join(filter(None, (entry.tool, entry.family, entry.table)))
            yield f"not read: {which}: {entry.unread}"
        elif entry.rule or entry.verdict != "ACCEPT" or (entry.tool, entry.family) in ruled:
            yield rule(entry)


def rule(entry: FirewallRule) -> str:
    """One rule, or a chain's policy."""
    place = f"{entry.tool} {entry.family} {entry.table} {entry.chain}"
    return f"{place}: {entry.rule}" if entry.rule else f"{place}: policy {entry.verdict}"

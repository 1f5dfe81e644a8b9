"""What a watch reports, as objects for programs and as lines for people (docs/watch.md has both)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lab.model import Finding
from lab.output.finding_text import fixes
from lab.probes.deadlines import Flow
from lab.watch.exchange import KINDS, Round
from lab.watch.ledger import Ledger, PairChange, PairFigures

MOST_ROWS = 60
"""Rows of the table at the end; of more, those that lost something are shown."""
EVENT_WIDTH = 10
ARROW = " → "


@dataclass(frozen=True)
class Event:
    """One thing that happened: its name and fields, and its lines, which the time goes before."""

    name: str
    fields: Mapping[str, Any]
    lines: Sequence[str]

    def data(self, when: datetime) -> dict[str, Any]:
        return {"time": when.isoformat(timespec="milliseconds"), "event": self.name, **self.fields}

    def text(self, when: datetime) -> str:
        return "\n".join(f"{when.isoformat(timespec='seconds')}  {line}" for line in self.lines)


Emit = Callable[[Event], None]


def _line(event: str, text: str) -> str:
    return f"{event:{EVENT_WIDTH}}  {text}"


def started(hosts: Mapping[str, str], shape: str, pairs: int, every: float) -> Event:
    """The watch begins; `hosts` are the user's names by role."""
    named = [role if role == name else f"{role} = {name}" for role, name in hosts.items()]
    text = f"{', '.join(named)} ({shape}): {pairs} pairs, {', '.join(KINDS)}, every {every:g} s"
    return Event("started", {"hosts": dict(hosts), "pairs": pairs, "every": every}, [_line("started", text)])


def first_round(made: Round) -> Event:
    """How much of the first round arrived."""
    arrived, sent = sum(bool(outcome.copies) for outcome in made.outcomes.values()), len(made.outcomes)
    text = f"{arrived} of {sent} datagrams of the first round arrived"
    return Event("first-round", {"arrived": arrived, "sent": sent}, [_line("first", text)])


def changed(changes: Iterable[tuple[PairChange, Sequence[Finding]]], skipped: str) -> list[Event]:
    """The changes of one round, each with its causes; of one pair on one line, where they have the same."""
    events, grouped = [], dict[tuple[str, str, str, str], list[str]]()
    for change, causes in changes:
        way, codes = change.way, list(dict.fromkeys(finding.code for finding in causes))
        fields: dict[str, Any] = {"from": way.sender, "to": way.receiver, "kind": way.kind}
        if change.state == "works":
            fields["silent"] = round(change.silent, 3)
            after = f": silent for {change.silent:.1f} s" if change.silent else ""
        else:
            fields |= {"codes": codes, "why_not": "" if codes else skipped}
            after = f" ({', '.join(codes) or skipped})"
        events.append(Event(change.state, fields, []))
        grouped.setdefault((change.state, way.sender, way.receiver, after), []).append(way.kind)
    lines = [
        _line(state, f"{sender}{ARROW}{receiver}  {', '.join(kinds)}{after}")
        for (state, sender, receiver, after), kinds in grouped.items()
    ]
    return [*events[:-1], Event(events[-1].name, events[-1].fields, lines)] if events else []


def found(finding: Finding) -> Event:
    """A cause, and the command that corrects it."""
    lines = [_line("finding", f"{finding.code}: {finding.summary} ({finding.evidence})")]
    lines += [_line("", line) for line in fixes(finding.place, finding.remedy)]
    return Event("finding", finding.data(), lines)


def cleared(finding: Finding) -> Event:
    """A cause is no longer found."""
    where = f"{finding.node} {finding.interface}".strip()
    fields = {"code": finding.code, "node": finding.node, "interface": finding.interface, "host": finding.host}
    return Event("cleared", fields, [_line("cleared", f"{finding.code} ({where})")])


def gone(role: str, why: str) -> Event:
    """A host does not answer."""
    return Event("gone", {"host": role, "why": why}, [_line("gone", f"{role}: {why.splitlines()[0]}")])


def back(role: str, after: float) -> Event:
    """A host is connected again."""
    return Event("back", {"host": role, "after": round(after, 3)}, [_line("back", f"{role}, after {after:.1f} s")])


def unwatched(role: str, why: str) -> Event:
    """A host that is connected and not part of the overlay."""
    return Event("unwatched", {"host": role, "why": why}, [_line("unwatched", f"{role}: {why}")])


def summary(ledger: Ledger, seconds: float, rounds: int, status: int) -> Event:
    """The figures of every pair and kind, and what they come to."""
    sent, lost, duplicated = ledger.total()
    pairs = [_figures(way, tally) for way, tally in _in_order(ledger.tallies)]
    fields = {
        "seconds": round(seconds, 3),
        "rounds": rounds,
        "sent": sent,
        "lost": lost,
        "duplicated": duplicated,
        "status": status,
        "pairs": pairs,
    }
    verdict = f"lost {lost} of {sent} datagrams, {duplicated} duplicated" if lost or duplicated else "nothing was lost"
    text = _line("summary", f"{rounds} rounds in {seconds:.0f} s: {verdict}")
    return Event("summary", fields, [text])


def table(ledger: Ledger) -> list[str]:
    """The figures of every pair and kind, in columns; of many pairs, of those that lost something."""
    rows = [_figures(way, tally) for way, tally in _in_order(ledger.tallies)]
    shown = rows if len(rows) <= MOST_ROWS else [row for row in rows if row["lost"] or row["duplicated"] or row["late"]]
    cells = [
        ["from", "to", "kind", "sent", "lost", "", "duplicated", "late", "longest silence", "p50", "p99"],
        *(_cells(row) for row in shown),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    sides = "<<<" + ">" * len(widths)
    lines = ["  ".join(map("{:{}{}}".format, row, sides, widths)) for row in cells]
    left = len(rows) - len(shown)
    return [line.rstrip() for line in lines] + ([f"and {left} that lost nothing"] if left else [])


def _cells(row: Mapping[str, Any]) -> list[str]:
    share = f"({row['loss']:.1%})" if row["lost"] else ""
    counts = [str(row["sent"]), str(row["lost"]), share, str(row["duplicated"]), str(row["late"])]
    latencies = ["-" if seconds is None else f"{seconds * 1000:.3f} ms" for seconds in (row["p50"], row["p99"])]
    return [row["from"], row["to"], row["kind"], *counts, f"{row['longest_silence']:.1f} s", *latencies]


def _figures(way: Flow, tally: PairFigures) -> dict[str, Any]:
    p50, p99 = tally.latencies.percentile(0.5), tally.latencies.percentile(0.99)
    return {
        "from": way.sender,
        "to": way.receiver,
        "kind": way.kind,
        "sent": tally.sent,
        "lost": tally.lost,
        "duplicated": tally.duplicated,
        "late": tally.late,
        "loss": tally.lost / tally.sent if tally.sent else 0.0,
        "longest_silence": round(tally.silence, 3),
        "p50": p50,
        "p99": p99,
    }


def _in_order(tallies: Mapping[Flow, PairFigures]) -> list[tuple[Flow, PairFigures]]:
    return sorted(tallies.items(), key=lambda each: (each[0].sender, each[0].receiver, KINDS.index(each[0].kind)))

"""A run as text: what was delivered, what holds in each area, what does not apply (`answer` is what comes after)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lab.output.finding_text import MOST_LINES, wrapped
from lab.requirements import AREAS, CATALOGUE, ON_DEMAND
from reports.verdict.conformance import Conformance, Tally, tally
from reports.verdict.deliveries import KINDS, Matrix

Tone = Literal["plain", "strong", "good", "bad", "unsure", "faint"]

PLAIN_ASCII = {"✓": "+", "✗": "x", "·": ".", "→": "->", "–": "-"}
OPEN_COLUMNS: dict[str, Callable[[Tally], int]] = {
    "failed": lambda counts: counts.failed,
    "not run": lambda counts: counts.not_run,
    "n/a": lambda counts: counts.not_applicable,
}
"""What keeps requirements from being held: a column each, where there is something to show."""
MOST_NARROW = 20  # for the name of an area
MOST_OF_LEGEND = 4  # lines
MOST_ENTRIES = 3
"""Of one kind of change since an earlier run."""
IN_IDS = ("turned red", "turned green")
WORSE = ("turned red", "new causes", "still red")
MARKS = {"delivered": "✓", "wrong": "✗", "silent": "·", "untested": " "}


@dataclass(frozen=True)
class SummaryLine:
    """A line of the summary and how it is meant."""

    text: str
    tone: Tone = "plain"


def encodable(text: str, encoding: str | None) -> str:
    """Return the text in signs that a stream of this encoding can carry."""
    try:
        text.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        for sign, plain in PLAIN_ASCII.items():
            text = text.replace(sign, plain)
        return text.encode("ascii", "replace").decode("ascii")
    return text


def summary(conformance: Conformance, tables: Sequence[Matrix], width: int, hosts: str = "") -> list[SummaryLine]:
    """
    Return what a run has seen; of one in which something failed, what is as expected in a line.

    `hosts` are live hosts by the user's names, with their roles.
    """
    failing = conformance.verdict == "nonconformant"
    return [
        *delivery_lines(tables, width, brief=failing, hosts=hosts),
        *area_lines(conformance, width),
        *([] if failing else reason_lines(conformance, width)),
    ]


def delivery_lines(tables: Sequence[Matrix], width: int, *, brief: bool = False, hosts: str = "") -> list[SummaryLine]:
    """
    Draw one matrix for each network: a row for each sender, and for each kind a column for each receiver.

    In `brief`, a network where all is as expected is one line.  Hosts are drawn by role; `hosts` is the legend.
    """
    lines: list[SummaryLine] = []
    drawn: list[Matrix] = []
    for table in tables:
        if brief and "wrong" not in table.cells.values():
            lines += [SummaryLine(""), SummaryLine(f"  {table.network}: all {len(table.cells)} deliveries as expected")]
        else:
            lines += [SummaryLine(""), *_drawn(table, width), *_sampled(table)]
            drawn.append(table)
    used = {mark for table in drawn for mark in table.cells.values()}
    meaning = {"delivered": "✓ delivered", "wrong": "✗ not as expected", "silent": "· not delivered, as expected"}
    if used:
        lines.append(SummaryLine("  " + "   ".join(text for mark, text in meaning.items() if mark in used), "faint"))
    if drawn and "(" in hosts:  # a user's name that is its role needs no legend
        lines += [SummaryLine(line, "faint") for line in wrapped(f"hosts: {hosts}", width, MOST_OF_LEGEND, first="  ")]
    return lines


def _sampled(table: Matrix) -> list[SummaryLine]:
    """Say which kinds of sending were tried between some of the hosts only."""
    pairs = len(table.nodes) * (len(table.nodes) - 1)
    tried = {kind: sum(of == kind and here != there for of, here, there in table.cells) for kind in KINDS}
    return [
        SummaryLine(f"  {kind}: a sample, {count} of {pairs} pairs of hosts", "faint")
        for kind, count in tried.items()
        if 0 < count < pairs
    ]


def _drawn(table: Matrix, width: int) -> list[SummaryLine]:
    first = max(len(name) for name in (*table.nodes, table.network, "from / to")) + 2
    for names in (list(table.nodes), [short(name) for name in table.nodes]):
        block = max(sum(len(name) + 1 for name in names) - 1, *(len(kind) for kind in KINDS))
        if 2 + first + len(KINDS) * (block + 3) <= width:
            return _by_receiver(table, names, first, block)
    return _by_count(table, first)


def short(name: str) -> str:
    """Abbreviate a node's name for the head of a narrow column: `s12` for spoke12."""
    return re.sub(r"^spoke(?=\d)", "s", name)


def _by_receiver(table: Matrix, names: list[str], first: int, block: int) -> list[SummaryLine]:
    kinds = "   ".join(kind.ljust(block) for kind in KINDS)
    receivers = "   ".join(" ".join(names).ljust(block) for _ in KINDS)
    lines = [
        SummaryLine(f"  {table.network.ljust(first)}{kinds}".rstrip(), "strong"),
        SummaryLine(f"  {'from / to'.ljust(first)}{receivers}".rstrip(), "faint"),
    ]
    for sender in table.nodes:
        blocks = []
        for kind in KINDS:
            marks = [table.mark(kind, sender, receiver) for receiver in table.nodes]
            row = " ".join(MARKS[mark].center(len(name)) for mark, name in zip(marks, names, strict=True))
            blocks.append(row.ljust(block))
        lines.append(SummaryLine(f"  {sender.ljust(first)}{'   '.join(blocks)}".rstrip(), _tone(table, sender)))
    return lines


def _by_count(table: Matrix, first: int) -> list[SummaryLine]:
    """Draw a matrix that is too wide for the terminal as "how many of those tried were as they must be"."""
    lines = [SummaryLine("  " + table.network.ljust(first) + "  ".join(kind.ljust(12) for kind in KINDS), "strong")]
    for sender in table.nodes:
        counts = []
        for kind in KINDS:
            marks = [table.mark(kind, sender, receiver) for receiver in table.nodes]
            tried = [mark for mark in marks if mark != "untested"]
            right = [mark for mark in tried if mark != "wrong"]
            sign = "" if not tried else MARKS[min(tried, key=["wrong", "delivered", "silent"].index)]
            counts.append((f"{sign} {len(right)} of {len(tried)}" if tried else "").ljust(12))
        lines.append(SummaryLine(f"  {sender.ljust(first)}{'  '.join(counts)}".rstrip(), _tone(table, sender)))
    return lines


def _tone(table: Matrix, sender: str) -> Tone:
    marks = {mark for (_, origin, _), mark in table.cells.items() if origin == sender}
    return "bad" if "wrong" in marks else "plain"


def area_lines(conformance: Conformance, width: int) -> list[SummaryLine]:
    """Return a table of the areas: how many MUST and SHOULD requirements hold, fail, did not run or do not apply."""
    rows = conformance.areas
    omitted = [area for area in ON_DEMAND if area not in conformance.scope]
    not_run = [area for area, members in rows.items() if all(one.outcome == "not-run" for one in members)]
    untouched = not_run if conformance.narrowed else []
    whole = tally(conformance.requirements)
    open_ones = {name: count for name, count in OPEN_COLUMNS.items() if count(whole)}
    head = f"{'MUST':<10}{'SHOULD':<6}" + "".join(f"  {name}" for name in open_ones)
    names = {area: f"{area:<6} {AREAS[area]}" for area in (*rows, *omitted)}
    names |= {area: f"{area:<6} not counted: {AREAS[area]}" for area, members in rows.items() if not members[0].counts}
    title = min(max(map(len, names.values())) + 2, max(width - len(head) - 2, MOST_NARROW))
    lines = [SummaryLine(""), SummaryLine(f"  {'requirements':<{title}}{head}".rstrip(), "strong")]
    for area, members in ((area, members) for area, members in rows.items() if area not in untouched):
        must, should = (tally(one for one in members if one.level == level) for level in ("MUST", "SHOULD"))
        of_both = tally(members)
        counts = "".join(f"  {count(of_both) or '':>{len(name)}}" for name, count in open_ones.items())
        name = shortened(names[area], title - 2)
        text = f"  {name:<{title}}{_held(must):<10}{_held(should):<6}{counts}".rstrip()
        tone: Tone = "bad" if must.failed else "unsure" if must.not_run or should.failed else "plain"
        lines.append(SummaryLine(text, tone))
    if untouched:
        text = f"not run: {', '.join(untouched)}"
        lines += [SummaryLine(f"  {line}", "unsure") for line in wrapped(text, width - 2, MOST_LINES, first="")]
    for area in omitted:
        name = shortened(names[area], title - 2)
        lines.append(SummaryLine(f"  {name:<{title}}not selected ({ON_DEMAND[area]})", "faint"))
    return lines


def _held(counts: Tally) -> str:
    return f"{counts.passed} of {counts.applicable}" if counts.applicable else "–"


def shortened(text: str, width: int) -> str:
    """Cut a text off so that it fits a column."""
    return text if len(text) <= width else text[: width - 3].rstrip() + "..."


def reason_lines(conformance: Conformance, width: int) -> list[SummaryLine]:
    """Return what does not apply, one entry for each reason."""
    groups: dict[str, list[str]] = {}
    for judged in conformance.requirements:
        if judged.outcome == "not-applicable":
            groups.setdefault(judged.reason, []).append(judged.requirement.id)
    lines = [SummaryLine(""), SummaryLine("  does not apply", "strong")] if groups else []
    for reason, ids in groups.items():
        lines += [SummaryLine(f"  {line}", "faint") for line in wrapped(compact(ids), width - 2, MOST_LINES, first="")]
        lines += [SummaryLine(f"  {line}") for line in wrapped(reason, width - 2, MOST_LINES)]
    return lines


def compact(ids: Sequence[str]) -> str:
    """Write ids briefly: neighbours in the catalogue as a range, `BCAST-01..04`."""
    order = {identity: number for number, identity in enumerate(CATALOGUE)}
    runs: list[list[str]] = []
    for identity in sorted(ids, key=order.__getitem__):
        last = runs[-1][-1] if runs else ""
        neighbour = last and order[identity] == order[last] + 1
        if neighbour and CATALOGUE[identity].area == CATALOGUE[last].area:
            runs[-1].append(identity)
        else:
            runs.append([identity])
    return ", ".join(_run(run) for run in runs)


def _run(run: list[str]) -> str:
    return ", ".join(run) if len(run) < 3 else f"{run[0]}..{run[-1].rpartition('-')[2]}"


def since(baseline: Mapping[str, Any], width: int) -> list[SummaryLine]:
    """Return what changed since an earlier run: a heading, and an entry for each kind of change."""
    found = {change["heading"]: list(change["lines"]) for change in baseline["changes"]}
    for heading in IN_IDS:
        if heading in found:
            found[heading] = [compact([line.split(" ")[0] for line in found[heading]])]
    if baseline["still_red"]:
        found["still red"] = [compact(baseline["still_red"])]
    head = f"since {baseline['name']} ({baseline['verdict']}, {baseline['generated']}):"
    lines = [SummaryLine(head if found else f"{head} nothing changed", "strong")]
    for heading, entries in found.items():
        for entry in entries[:MOST_ENTRIES]:
            tone: Tone = "bad" if heading in WORSE else "plain"
            lines += [SummaryLine(line, tone) for line in wrapped(f"{heading}: {entry}", width, 2, first="  ")]
        if len(entries) > MOST_ENTRIES:
            lines.append(SummaryLine(f"  {heading}: {len(entries) - MOST_ENTRIES} more"))
    return lines


def place(environment: Mapping[str, str]) -> str:
    """Say where it was: `gretap, standard, oci; guest kernel 6.1.176`."""
    tunnel = "no tunnels" if environment.get("tunnel") == "none" else environment.get("tunnel")
    chosen = ", ".join(filter(None, (tunnel, environment.get("topology"), environment.get("provider"))))
    kernel = f"{environment.get('machine', '')} kernel {environment['kernel']}" if environment.get("kernel") else ""
    fault = f"injected fault: {environment['injected fault']}" if environment.get("injected fault") else ""
    accepted = f"accepted: {environment['accepted']}" if environment.get("accepted") else ""
    return "; ".join(part.strip() for part in (chosen, kernel, fault, accepted) if part)

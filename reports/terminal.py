"""The end of a run as text: what was delivered, what holds in each area, what is in the way, and the verdict."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lab.requirements import AREAS, CATALOGUE, ON_DEMAND, Level
from reports.conformance import Conformance, Judged, Outcome, Tally, tally
from reports.deliveries import KINDS, Matrix

Tone = Literal["plain", "strong", "good", "bad", "unsure", "faint"]

PLAIN_ASCII = {"✓": "+", "✗": "x", "·": ".", "→": "->", "–": "-"}
EXPLAINED = "what is wrong is told above; the reports have each test"
MARKS = {"delivered": "✓", "wrong": "✗", "silent": "·", "untested": " "}


@dataclass(frozen=True)
class Line:
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


def summary(
    conformance: Conformance, tables: Sequence[Matrix], findings: Sequence[Mapping[str, Any]], width: int
) -> list[Line]:
    """Return everything but the last line."""
    explained = {identity for finding in findings for identity in finding["requirements"]}
    return [
        *delivery_lines(tables, width),
        *area_lines(conformance),
        *finding_lines(conformance, findings),
        *reason_lines(conformance, explained),
    ]


def delivery_lines(tables: Sequence[Matrix], width: int) -> list[Line]:
    """Draw one matrix for each network: a row for each sender, and for each kind a column for each receiver."""
    lines: list[Line] = []
    for table in tables:
        lines += [Line(""), *_drawn(table, width)]
    if lines:
        used = {mark for table in tables for mark in table.cells.values()}
        meaning = {"delivered": "✓ delivered", "wrong": "✗ not as it must be", "silent": "· silent, as it must be"}
        lines.append(Line("  " + "   ".join(text for mark, text in meaning.items() if mark in used), "faint"))
    return lines


def _drawn(table: Matrix, width: int) -> list[Line]:
    first = max(len(name) for name in (*table.nodes, table.network, "from / to")) + 2
    for names in (list(table.nodes), [short(name) for name in table.nodes]):
        block = max(sum(len(name) + 1 for name in names) - 1, *(len(kind) for kind in KINDS))
        if 2 + first + len(KINDS) * (block + 3) <= width:
            return _by_receiver(table, names, first, block)
    return _by_count(table, first)


def short(name: str) -> str:
    """Abbreviate a node's name for the head of a narrow column: `s12` for spoke12."""
    return re.sub(r"^spoke(?=\d)", "s", name)


def _by_receiver(table: Matrix, names: list[str], first: int, block: int) -> list[Line]:
    kinds = "   ".join(kind.ljust(block) for kind in KINDS)
    receivers = "   ".join(" ".join(names).ljust(block) for _ in KINDS)
    lines = [
        Line(f"  {table.network.ljust(first)}{kinds}".rstrip(), "strong"),
        Line(f"  {'from / to'.ljust(first)}{receivers}".rstrip(), "faint"),
    ]
    for sender in table.nodes:
        blocks = []
        for kind in KINDS:
            marks = [table.mark(kind, sender, receiver) for receiver in table.nodes]
            row = " ".join(MARKS[mark].center(len(name)) for mark, name in zip(marks, names, strict=True))
            blocks.append(row.ljust(block))
        lines.append(Line(f"  {sender.ljust(first)}{'   '.join(blocks)}".rstrip(), _tone(table, sender)))
    return lines


def _by_count(table: Matrix, first: int) -> list[Line]:
    """Draw a matrix that is too wide for the terminal as "how many of those tried were as they must be"."""
    lines = [Line("  " + table.network.ljust(first) + "  ".join(kind.ljust(12) for kind in KINDS), "strong")]
    for sender in table.nodes:
        counts = []
        for kind in KINDS:
            marks = [table.mark(kind, sender, receiver) for receiver in table.nodes]
            tried = [mark for mark in marks if mark != "untested"]
            right = [mark for mark in tried if mark != "wrong"]
            sign = "" if not tried else MARKS[min(tried, key=["wrong", "delivered", "silent"].index)]
            counts.append((f"{sign} {len(right)} of {len(tried)}" if tried else "").ljust(12))
        lines.append(Line(f"  {sender.ljust(first)}{'  '.join(counts)}".rstrip(), _tone(table, sender)))
    return lines


def _tone(table: Matrix, sender: str) -> Tone:
    marks = {mark for (_, origin, _), mark in table.cells.items() if origin == sender}
    return "bad" if "wrong" in marks else "plain"


def area_lines(conformance: Conformance) -> list[Line]:
    """Return a table of the areas: how many MUST and SHOULD requirements hold, fail, or were not put to the test."""
    rows: dict[str, list[Judged]] = {}
    for judged in conformance.requirements:
        rows.setdefault(judged.requirement.area, []).append(judged)
    unasked = [area for area in ON_DEMAND if area not in conformance.scope]
    title = max(len(f"{area:<5}  {AREAS[area]}") for area in (*rows, *unasked)) + 2
    lines = [Line(""), Line("  " + "requirements".ljust(title) + "MUST".ljust(34) + " SHOULD", "strong")]
    for area, members in rows.items():
        must, should = (tally(one for one in members if one.level == level) for level in ("MUST", "SHOULD"))
        beyond = "" if members[0].counts else "  (not counted)"
        text = f"  {f'{area:<5}  {AREAS[area]}'.ljust(title)}{_counts(must).ljust(34)} {_counts(should)}{beyond}"
        tone: Tone = "bad" if must.failed else "unsure" if must.not_run or should.failed else "plain"
        lines.append(Line(text.rstrip(), tone))
    for area in unasked:
        lines.append(Line(f"  {f'{area:<5}  {AREAS[area]}'.ljust(title)}not asked for (--applications)", "faint"))
    return lines


def _counts(counts: Tally) -> str:
    """Return `7 of 7`, then what keeps it from being all."""
    parts = [f"{counts.passed} of {counts.applicable}"] if counts.applicable else []
    parts += [f"{number} {word}" for number, word in _rest(counts) if number]
    return ", ".join(parts) or "–"


def _rest(counts: Tally) -> list[tuple[int, str]]:
    return [(counts.failed, "failed"), (counts.not_run, "not run"), (counts.not_applicable, "not applicable")]


def finding_lines(conformance: Conformance, findings: Sequence[Mapping[str, Any]]) -> list[Line]:
    """Return what is wrong: each cause once, however many tests failed from it, with what mends it."""
    if not findings:
        return []
    failed = {judged.requirement.id for judged in conformance.requirements if judged.outcome == "failed"}
    causes: dict[str, list[Mapping[str, Any]]] = {}
    for finding in findings:
        causes.setdefault(str(finding["code"]), []).append(finding)
    lines = [Line(""), Line("  what is wrong", "strong")]
    for code, places in causes.items():
        lines.append(Line(f"  {code}", "bad"))
        for finding in places:
            lines += [Line(f"      {finding['summary']}"), Line(f"      {finding['evidence']}", "faint")]
            if finding["remedy"]:
                lines.append(Line(f"      run on {finding['node']}: {finding['remedy']}", "strong"))
        broken = failed.intersection(*[one["requirements"] for one in places]) if places else set()
        tests = {test for one in places for test in one["tests"]}
        if broken:
            count = "1 failed test" if len(tests) == 1 else f"{len(tests)} failed tests"
            lines.append(Line(f"      behind {count} of {compact(sorted(broken))}", "faint"))
    return lines


def reason_lines(conformance: Conformance, explained: Collection[str] = ()) -> list[Line]:
    """
    Return what failed, did not run or does not apply, one entry for each reason, with what mends it.

    What a finding has `explained` is only named.
    """
    lines: list[Line] = []
    headings: dict[Outcome, tuple[str, Tone]] = {
        "failed": ("does not hold", "bad"),
        "not-run": ("did not run", "unsure"),
        "not-applicable": ("does not apply", "faint"),
    }
    for outcome, (heading, tone) in headings.items():
        groups: dict[tuple[str, str | None], list[str]] = {}
        for judged in conformance.requirements:
            if judged.outcome == outcome:
                known = outcome == "failed" and judged.requirement.id in explained
                key = (EXPLAINED, None) if known else (judged.reason, judged.remedy)
                groups.setdefault(key, []).append(judged.requirement.id)
        if groups:
            lines += [Line(""), Line(f"  {heading}", "strong")]
        for (reason, remedy), ids in groups.items():
            lines.append(Line(f"  {compact(ids)}", tone))
            lines += [Line(f"      {line}") for line in reason.splitlines()]
            lines += [Line(f"      to mend it: {remedy}")] if remedy else []
    if conformance.left_behind:
        lines += [Line(""), Line("  left something behind", "strong")]
        lines += [Line(f"  {one.nodeid}: {one.left_behind}", "bad") for one in conformance.left_behind]
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


def verdict_line(conformance: Conformance, environment: Mapping[str, str]) -> Line:
    """Return the last line of the run."""
    tones: dict[str, Tone] = {"conformant": "good", "nonconformant": "bad", "incomplete": "unsure"}
    must = tally(conformance.counted("MUST"))
    told = [_told_of_must(conformance, must)]
    if must.not_applicable:
        told[0] += f", {must.not_applicable} not applicable"
    failing = conformance.counted("SHOULD", "failed")
    if failing:
        told.append(_do_not_hold(failing, conformance, "SHOULD"))
    if conformance.left_behind:
        told.append(f"{len(conformance.left_behind)} left something behind")
    where = place(environment)
    text = f"verdict: {conformance.verdict} - {'; '.join(told)}" + (f" ({where})" if where else "")
    return Line(text, tones[conformance.verdict])


def _told_of_must(conformance: Conformance, must: Tally) -> str:
    ran = f"{must.ran} of {must.applicable} MUST requirements ran"
    if conformance.verdict == "conformant":
        return f"{must.passed} of {must.applicable} MUST requirements hold"
    if conformance.verdict == "nonconformant":
        told = _do_not_hold(conformance.counted("MUST", "failed"), conformance, "MUST")
        beside = f"narrowed by selection: {ran}" if conformance.narrowed else f"{must.not_run} did not run"
        return f"{told}; {beside}" if conformance.narrowed or must.not_run else told
    if conformance.narrowed:
        return f"narrowed by selection: {ran}"
    if conformance.broken and not must.not_run:
        files = "1 file" if len(conformance.broken) == 1 else f"{len(conformance.broken)} files"
        return f"{files} of tests could not be collected; {ran}"
    return f"{must.not_run} of {must.applicable} MUST requirements did not run"


def _do_not_hold(failing: Sequence[Judged], conformance: Conformance, level: Level) -> str:
    applicable = tally(conformance.counted(level)).applicable
    verb = "does" if len(failing) == 1 else "do"
    ids = compact([one.requirement.id for one in failing])
    return f"{len(failing)} of {applicable} {level} requirements {verb} not hold: {ids}"


def place(environment: Mapping[str, str]) -> str:
    """Say where it was: `gretap, standard, oci; guest kernel 6.1.176`."""
    chosen = ", ".join(environment[key] for key in ("tunnel", "topology", "provider") if environment.get(key))
    kernel = f"{environment.get('machine', '')} kernel {environment['kernel']}" if environment.get("kernel") else ""
    fault = f"injected fault: {environment['injected fault']}" if environment.get("injected fault") else ""
    accepted = f"accepted: {environment['accepted']}" if environment.get("accepted") else ""
    return "; ".join(part.strip() for part in (chosen, kernel, fault, accepted) if part)

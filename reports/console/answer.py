"""
The end of a run, which is its answer: the causes with their fixes, what has no known cause, and the verdict.

It is the last thing on the screen whatever else is printed, so each entry is a few lines and the verdict is one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from lab.output.finding_text import MOST_LINES, MOST_OF_FACT, cause_lines, correction, merged, wrapped
from lab.requirements import counted
from reports.console.terminal import SummaryLine, Tone, compact, place
from reports.verdict.conformance import INTERRUPTED, Conformance, RecordedTest, RequirementResult, tally

MOST_CAUSES = 5
MOST_PLACES = 3
MOST_REASONS = 3
CUT_IDS = ", ..."
INDENT = "    "


def answer(
    conformance: Conformance,
    findings: Sequence[Mapping[str, Any]],
    environment: Mapping[str, str],
    *,
    width: int,
    results: str,
) -> list[SummaryLine]:
    """Return the last lines of a run; `results` is where the reader finds what was cut off."""
    return [
        *_causes(conformance, findings, width, results),
        *_without_cause(conformance, findings, width, results),
        *_leftovers(conformance, width),
        *_did_not_run(conformance, width, results),
        *_replaced(environment, width),
        verdict_line(conformance, findings, environment),
    ]


def _causes(
    conformance: Conformance, findings: Sequence[Mapping[str, Any]], width: int, results: str
) -> Iterable[SummaryLine]:
    codes: dict[str, list[Mapping[str, Any]]] = {}
    for finding in merged(findings):
        codes.setdefault(str(finding["code"]), []).append(finding)
    shown: list[list[RecordedTest]] = []
    for number, (code, places) in enumerate(codes.items()):
        if number == MOST_CAUSES:
            yield SummaryLine(f"{_count(len(codes) - number, 'more cause')} in {results}", "bad")
            return
        for finding in places[:MOST_PLACES]:
            failures = [trial for trial in _failed(conformance) if trial.nodeid in finding["tests"]]
            first, *rest = cause_lines(finding, width, _caused(failures, shown, width))
            shown.append(failures)
            yield SummaryLine(first, "bad")
            yield from (SummaryLine(line, _tone(line)) for line in rest)
        if len(places) > MOST_PLACES:
            yield SummaryLine(f"{code}: {_count(len(places) - MOST_PLACES, 'more place')} in {results}", "bad")


def _caused(failures: Sequence[RecordedTest], shown: Sequence[Sequence[RecordedTest]], width: int) -> str:
    """Return how many failures a cause has, and whether a cause above has exactly the same."""
    same = "the same " if failures in shown else ""
    return f"caused {same}{_failures(failures, width)}" if failures else ""


def _failures(failures: Sequence[RecordedTest], width: int) -> str:
    """Return `3 test failures (BCAST-01, HUB-01..05, ...)`, as many ids as fit a line of this width."""
    count = _count(len(failures), "test failure")
    ids = compact(list({identity for trial in failures for identity in trial.requirements})).split(", ")
    room = width - len(f"{INDENT}no known cause: {count} ()")
    listed = ids[0]
    for number, one in enumerate(ids[1:], start=2):
        if len(f"{listed}, {one}") + (len(CUT_IDS) if number < len(ids) else 0) > room:
            return f"{count} ({listed}{CUT_IDS})"
        listed = f"{listed}, {one}"
    return f"{count} ({listed})"


def _without_cause(
    conformance: Conformance, findings: Sequence[Mapping[str, Any]], width: int, results: str
) -> Iterable[SummaryLine]:
    groups: dict[tuple[str, str | None], list[RecordedTest]] = {}
    for trial in unexplained(conformance, findings):
        groups.setdefault((trial.reason, trial.remedy), []).append(trial)
    for (reason, remedy), trials in list(groups.items())[:MOST_REASONS]:
        heading = f"no known cause: {_failures(trials, width)}"
        yield from _entry(heading, f"{trials[0].nodeid}: {reason}", remedy, width, "bad")
    if len(groups) > MOST_REASONS:
        yield SummaryLine(
            f"{_count(len(groups) - MOST_REASONS, 'more failure')} without a known cause in {results}", "bad"
        )


def _leftovers(conformance: Conformance, width: int) -> Iterable[SummaryLine]:
    left = conformance.left_behind
    if left:
        heading = f"leftover: {_count(len(left), 'test')} did not undo a change"
        # what was left is listed where the test failed
        yield from _entry(heading, f"{left[0].nodeid}: {left[0].left_behind.splitlines()[0]}", None, width, "bad")


def _did_not_run(conformance: Conformance, width: int, results: str) -> Iterable[SummaryLine]:
    """Return why requirements did not run, one entry for each reason; what the user left out is no news."""
    for broken in conformance.broken[:MOST_REASONS]:
        yield from _entry(f"not collected: {broken}", "", None, width, "unsure")
    if conformance.stopped and conformance.stopped != INTERRUPTED:
        yield from _entry(f"run ended early: {conformance.stopped}", "", None, width, "unsure")
    groups: dict[tuple[str, str | None], list[RequirementResult]] = {}
    for judged in conformance.requirements:
        if judged.outcome == "not-run" and not judged.of_the_run:
            groups.setdefault((judged.reason, judged.remedy), []).append(judged)
    for (reason, remedy), members in list(groups.items())[:MOST_REASONS]:
        heading = f"did not run: {compact([one.requirement.id for one in members])}"
        yield from _entry(heading, reason, remedy, width, "unsure")
    if len(groups) > MOST_REASONS:
        yield SummaryLine(f"{_count(len(groups) - MOST_REASONS, 'more reason')} not to run in {results}", "unsure")


def _replaced(environment: Mapping[str, str], width: int) -> Iterable[SummaryLine]:
    """Return that a guest kernel stopped, and that the test in it was repeated in a new one."""
    if how := environment.get("replaced"):
        yield from _entry("repeated in a new guest kernel: 1 test", how, None, width, "unsure")


def _entry(heading: str, text: str, remedy: str | None, width: int, tone: Tone) -> Iterable[SummaryLine]:
    fix = [f"{INDENT}fix: {' '.join(remedy.splitlines())}"] if remedy else []
    above = wrapped(heading, width, MOST_OF_FACT, first="")
    text = _in_one_line(text)
    yield from (SummaryLine(line, tone) for line in above)
    yield from (SummaryLine(line) for line in wrapped(text, width, MOST_LINES - len(above) - len(fix)))
    yield from (SummaryLine(line, "strong") for line in fix)


def _in_one_line(text: str) -> str:
    """Join the lines of a message: a line that does not end as a clause does is separated by a semicolon."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(line if line.endswith((":", ";", ",")) else f"{line};" for line in lines).rstrip(";")


def _tone(line: str) -> Tone:
    return "strong" if line.lstrip().startswith("fix") else "plain"


def verdict_line(
    conformance: Conformance, findings: Sequence[Mapping[str, Any]], environment: Mapping[str, str]
) -> SummaryLine:
    """Return the last line of the run."""
    tones: dict[str, Tone] = {"conformant": "good", "nonconformant": "bad", "incomplete": "unsure"}
    where = place(environment)
    interrupted = f" ({INTERRUPTED})" if conformance.interrupted else ""
    text = f"verdict: {conformance.verdict}{interrupted} - {sentence(conformance, findings)}" + (
        f" ({where})" if where else ""
    )
    return SummaryLine(text, tones[conformance.verdict])


def sentence(conformance: Conformance, findings: Sequence[Mapping[str, Any]]) -> str:
    """Return the verdict in numbers: how many requirements hold, do not hold, did not run and do not apply."""
    must = tally(conformance.counted("MUST"))
    parts = [f"{_count(len(conformance.broken), 'test file')} could not be collected"] if conformance.broken else []
    chosen = tally(one for one in conformance.counted("MUST") if one.selected)
    if chosen.applicable or not conformance.narrowed:
        kind = "selected MUST requirements" if conformance.narrowed else "MUST requirements"
        causes = _known(conformance, findings)
        parts.append(counted(chosen.passed, chosen.failed, chosen.not_run, kind, causes))
        if must.not_applicable:
            parts[-1] += f", {must.not_applicable} more {_do(must.not_applicable)} not apply"
    if conformance.narrowed:
        parts.append(f"the selected tests cover {chosen.applicable} of {must.applicable} MUST requirements")
    should = tally(one for one in conformance.counted("SHOULD") if one.selected or not conformance.narrowed)
    if should.failed:
        kind = "selected SHOULD requirements" if conformance.narrowed else "SHOULD requirements"
        parts.append(f"{should.failed} of {should.applicable} {kind} {_do(should.failed)} not hold")
    if conformance.left_behind:
        parts.append(f"{_count(len(conformance.left_behind), 'test')} did not undo a change")
    return "; ".join(parts)


def _known(conformance: Conformance, findings: Sequence[Mapping[str, Any]]) -> str:
    """
    Return `1 cause`, and how many failures it leaves open, both of MUST requirements.

    A cause is what one fix at one place corrects.
    """
    broken = {one.requirement.id for one in conformance.counted("MUST") if one.outcome == "failed"}
    failed = {trial.nodeid for trial in _failed(conformance) if not broken.isdisjoint(trial.requirements)}
    causes = [one for one in findings if not failed.isdisjoint(one["tests"])]
    if not causes:
        return "no known cause"
    left = sum(trial.nodeid in failed for trial in unexplained(conformance, findings))
    return _count(len(set(map(correction, merged(causes)))), "cause") + (
        f", and {_count(left, 'test failure')} without a known cause" if left else ""
    )


def unexplained(conformance: Conformance, findings: Sequence[Mapping[str, Any]]) -> list[RecordedTest]:
    """Return the failures that no finding explains."""
    explained: Collection[str] = {test for finding in findings for test in finding["tests"]}
    return [trial for trial in _failed(conformance) if trial.nodeid not in explained]


def _failed(conformance: Conformance) -> list[RecordedTest]:
    return [trial for trial in conformance.trials if trial.outcome == "failed"]


def _do(number: int) -> str:
    return "does" if number == 1 else "do"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" + ("" if number == 1 else "s")

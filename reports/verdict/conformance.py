"""
From what the tests did to the verdict: a pure calculation, no pytest in it.

A test proves something about its requirements only if its own body ran: an error while its lab was being set
up proves nothing, so the requirement has not been shown.  A requirement holds when at least one of its tests ran and
every one that applies here passed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from lab.requirements import CATALOGUE, SCOPE, Level, Requirement, area_of, in_scope

Outcome = Literal["passed", "failed", "not-run", "not-applicable"]
RunVerdict = Literal["conformant", "nonconformant", "incomplete"]

# Exit statuses in addition to pytest's own, which end at 6.
INCOMPLETE = 10
UNWRITTEN = 11

INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class RecordedTest:
    """What came of one test."""

    nodeid: str
    requirements: tuple[str, ...]
    outcome: Outcome
    reason: str = ""
    remedy: str | None = None
    detail: str = ""
    """The whole failure as pytest shows it."""
    seconds: float = 0.0
    left_behind: str = ""
    """What its tear-down complained of, though the test itself may have passed."""
    paths: tuple[Mapping[str, Any], ...] = ()
    """How far what it sent came, when it failed (`ways`)."""


@dataclass(frozen=True)
class Selection:
    """Which conformance tests there were to run."""

    collected: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Requirement ids by node id, tests that were then deselected included."""
    scope: tuple[str, ...] = SCOPE
    """The areas that count for the verdict."""
    deselected: frozenset[str] = frozenset()
    partial_paths: bool = False
    """The paths given on the command line do not cover all conformance tests."""
    partial_options: bool = False
    """Options such as --lf or --ignore were given, which may keep whole files from being collected."""
    narrowing: tuple[str, ...] = ()
    """What the user gave that leaves tests out, in the user's words: `-k`, `--lf`, `paths`."""
    ending: str = ""
    """The option that ends a run at a failure, if it was given: `-x`."""
    stopped: str = ""
    """Why the run ended before its last test, if it did."""
    interrupted: bool = False
    """The user, or a signal, ended the run."""
    broken: tuple[str, ...] = ()
    """Why files of tests could not be collected."""


@dataclass(frozen=True)
class RequirementResult:
    """A requirement and its result in this run."""

    requirement: Requirement
    outcome: Outcome
    reason: str = ""
    remedy: str | None = None
    tests: tuple[str, ...] = ()
    counts: bool = True
    """Whether it counts for the verdict: a requirement outside its scope is only shown."""
    of_the_run: bool = False
    """Whether its reason not to run is the whole run's: the user's selection, its early end, files of tests."""
    selected: bool = True
    """Whether the user's selection has all tests of it, or enough to see it fail."""

    @property
    def level(self) -> Level:
        """The level of the requirement: MUST or SHOULD."""
        return self.requirement.level


@dataclass(frozen=True)
class Tally:
    """How many requirements came to which end."""

    passed: int = 0
    failed: int = 0
    not_run: int = 0
    not_applicable: int = 0

    @property
    def applicable(self) -> int:
        """How many have a meaning for this lab."""
        return self.passed + self.failed + self.not_run

    @property
    def ran(self) -> int:
        """How many were put to the test."""
        return self.passed + self.failed


@dataclass(frozen=True)
class Conformance:
    """The result of a run."""

    verdict: RunVerdict
    requirements: tuple[RequirementResult, ...]
    scope: tuple[str, ...] = SCOPE
    trials: tuple[RecordedTest, ...] = ()
    narrowed: bool = False
    stopped: str = ""
    interrupted: bool = False
    broken: tuple[str, ...] = field(default=())

    def counted(self, level: Level) -> list[RequirementResult]:
        """Return the requirements of a level that count for the verdict."""
        return [judged for judged in self.requirements if judged.counts and judged.level == level]

    @property
    def areas(self) -> dict[str, list[RequirementResult]]:
        """The requirements by area, in the order of the catalogue."""
        areas: dict[str, list[RequirementResult]] = {}
        for judged in self.requirements:
            areas.setdefault(judged.requirement.area, []).append(judged)
        return areas

    @property
    def left_behind(self) -> list[RecordedTest]:
        """The tests whose tear-down failed."""
        return [trial for trial in self.trials if trial.left_behind]


def tally(judged: Iterable[RequirementResult]) -> Tally:
    """Count outcomes."""
    outcomes = [one.outcome for one in judged]
    return Tally(
        passed=outcomes.count("passed"),
        failed=outcomes.count("failed"),
        not_run=outcomes.count("not-run"),
        not_applicable=outcomes.count("not-applicable"),
    )


def judge(trials: Sequence[RecordedTest], selection: Selection) -> Conformance:
    """Weigh every requirement in scope, and those beyond it that were tested, and come to a verdict."""
    selection = _asked_for(selection)
    tested = {identity for ids in selection.collected.values() for identity in ids}
    tested.update(identity for trial in trials for identity in trial.requirements)
    spoken = {one.id for one in in_scope(selection.scope)}
    speaking = [one for one in CATALOGUE.values() if one.id in spoken | tested]
    judged = tuple(
        replace(_weigh(requirement, trials, selection), counts=requirement.id in spoken) for requirement in speaking
    )

    untested = any(one.counts and one.level == "MUST" and one.requirement.id not in tested for one in judged)
    narrowed = bool(selection.deselected or selection.partial_paths or (selection.partial_options and untested))
    return Conformance(
        verdict="incomplete"
        if selection.interrupted
        else _verdict(
            [one for one in judged if one.counts and one.level == "MUST"], partial=narrowed or bool(selection.broken)
        ),
        requirements=judged,
        scope=selection.scope,
        trials=tuple(trials),
        narrowed=narrowed,
        stopped=selection.stopped,
        interrupted=selection.interrupted,
        broken=selection.broken,
    )


def _asked_for(selection: Selection) -> Selection:
    """Return the selection without the tests that were left out since their areas were not asked for."""
    beyond = {
        node
        for node in selection.deselected
        if (ids := selection.collected.get(node)) and not {area_of(one) for one in ids} & set(selection.scope)
    }
    collected = {node: ids for node, ids in selection.collected.items() if node not in beyond}
    return replace(selection, collected=collected, deselected=selection.deselected - beyond)


def exit_status(conformance: Conformance, of_pytest: int, *, written: bool) -> int:
    """Return the status to exit with: pytest's own unless it would hide that the run proves nothing."""
    if of_pytest not in (0, 5):
        return of_pytest
    if conformance.verdict == "nonconformant":
        return 1
    if conformance.verdict == "incomplete":
        return INCOMPLETE
    return of_pytest if written else UNWRITTEN


def interrupted_status(status: int) -> int:
    """Return the status of a run that was interrupted: pytest's own for that, unless hosts are not restored."""
    return 2 if status <= UNWRITTEN else status


def _verdict(must: Sequence[RequirementResult], *, partial: bool) -> RunVerdict:
    outcomes = {one.outcome for one in must}
    if "failed" in outcomes:
        return "nonconformant"
    if "not-run" in outcomes or "passed" not in outcomes or partial:
        return "incomplete"
    return "conformant"


def _weigh(requirement: Requirement, trials: Sequence[RecordedTest], selection: Selection) -> RequirementResult:
    own = [trial for trial in trials if requirement.id in trial.requirements]
    seen = {trial.nodeid for trial in own}
    missed = [node for node, ids in selection.collected.items() if requirement.id in ids and node not in seen]
    tests = tuple(sorted(seen.union(missed)))

    for outcome in ("failed", "not-run"):
        telling = [trial for trial in own if trial.outcome == outcome]
        if telling:
            remedy = next((trial.remedy for trial in telling if trial.remedy), None)
            return RequirementResult(requirement, telling[0].outcome, _first_of(telling), remedy, tests)
    if missed or not own:
        return _missed(RequirementResult(requirement, "not-run", tests=tests), missed, selection)
    if all(trial.outcome == "not-applicable" for trial in own):
        return RequirementResult(requirement, "not-applicable", own[0].reason, None, tests)
    return RequirementResult(requirement, "passed", tests=tests)


def _first_of(telling: Sequence[RecordedTest]) -> str:
    others = len({trial.reason for trial in telling}) - 1
    return telling[0].reason + (f" (and {others} other reason{'s' if others > 1 else ''})" if others else "")


def _missed(judged: RequirementResult, missed: Sequence[str], selection: Selection) -> RequirementResult:
    """Say why tests of a requirement left no result, and what brings one."""
    left_out = f" without {', '.join(selection.narrowing)}" if selection.narrowing else ""
    reason, remedy = "left out by the selection", f"the whole suite: pytest{left_out}"
    deselected = [node for node in missed if node in selection.deselected]
    if deselected:
        judged = replace(judged, selected=False)
        total = len(judged.tests)
        reason += "" if len(deselected) == total else f": {len(deselected)} of its {total} tests"
    elif missed or selection.interrupted:
        reason = f"the run ended before its turn{f' ({selection.stopped})' if selection.stopped else ''}"
        remedy = f"run it again {f'without {selection.ending}' if selection.ending else 'to its end'}"
    elif selection.broken:
        return replace(judged, reason=f"tests could not be collected: {selection.broken[0]}", of_the_run=True)
    elif not selection.partial_paths and not selection.partial_options:
        remedy = "write one, marked @pytest.mark.requirement(ID)"
        return replace(judged, reason="no test asserts it", remedy=remedy)
    else:
        judged = replace(judged, selected=False)
    return replace(judged, reason=reason, remedy=remedy, of_the_run=True)

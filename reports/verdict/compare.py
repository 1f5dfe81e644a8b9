"""
What changed between two runs: verdict, requirements, causes, deliveries, figures.

    .venv/bin/python -m reports compare BEFORE AFTER        two folders of results, or their conformance.json
    pytest --baseline=BEFORE                                the run itself ends with what changed, and its page shows it
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import UsageProblem
from lab.output.finding_text import identity
from reports.verdict.document import SCHEMA

RunResult = Mapping[str, Any]
RED = "turned red"
CORRECTED = ("failed", "passed")
LEAST_CHANGE = 0.2
"""Share by which figures of runs without a spread of their own differ anyway."""


@dataclass(frozen=True)
class Baseline:
    """An earlier result that the run is compared with; `name` is the user's for it."""

    name: str
    result: RunResult


def load(path: Path) -> RunResult:
    """Read the result of a run; raises UsageProblem where there is none that this version understands."""
    file = path / "conformance.json" if path.is_dir() else path
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageProblem(
            f"{file} cannot be read: {error.strerror}; expected a folder of results, or its conformance.json"
        ) from None
    except ValueError:
        raise UsageProblem(f"{file} is not JSON; expected the conformance.json of a run") from None
    if not isinstance(result, dict) or result.get("schema") != SCHEMA:
        found = result.get("schema") if isinstance(result, dict) else None
        has = "no schema" if found is None else f"the schema {found}"
        raise UsageProblem(f"{file} has {has}; expected the conformance.json of a run, which has the schema {SCHEMA}")
    return result


def changes(before: RunResult, after: RunResult) -> list[tuple[str, list[str]]]:
    """Return what changed, as headings with their lines; only what both runs have is compared."""
    found = [
        ("the runs differ in", list(_circumstances(before, after))),
        (RED, list(_turned(before, after, red=True))),
        ("turned green", list(_turned(before, after, red=False))),
        ("other requirements", list(_others(before, after))),
        ("new causes", list(_causes(after, before))),
        ("causes gone", list(_causes(before, after))),
        ("deliveries", list(_deliveries(before, after))),
        ("figures beyond their spread", list(_figures(before, after))),
    ]
    return [(heading, lines) for heading, lines in found if lines]


def still_red(before: RunResult, after: RunResult) -> list[str]:
    """Return the ids of requirements that hold in neither run."""
    failed = {one["id"] for one in before["requirements"] if one["outcome"] == "failed"}
    return [one["id"] for one in after["requirements"] if one["outcome"] == "failed" and one["id"] in failed]


def since(before: RunResult, after: RunResult, name: str) -> dict[str, Any]:
    """Return what changed since a baseline, as the result of the later run has it (`baseline`)."""
    return {
        "name": name,
        "verdict": before["verdict"],
        "generated": before["generated"],
        "changes": [{"heading": heading, "lines": lines} for heading, lines in changes(before, after)],
        "still_red": still_red(before, after),
    }


def text(before: RunResult, after: RunResult, *, markdown: bool = False) -> str:
    """Return the comparison for a terminal, or in Markdown."""
    head = f"verdict: {before['verdict']} -> {after['verdict']}"
    parts = [f"# {head}\n" if markdown else head]
    for heading, lines in changes(before, after):
        marked = [f"- `{line}`" if markdown else f"    {line}" for line in lines]
        parts += ["", f"## {heading}\n" if markdown else heading, *marked]
    if len(parts) == 1:
        parts += ["", "no requirement, cause, delivery or figure changed"]
    return "\n".join(parts)


def _circumstances(before: RunResult, after: RunResult) -> Iterator[str]:
    names = ("overcast", "kernel", "machine", "tunnel", "topology", "provider", "spokes", "hosts", "injected fault")
    for name in names:
        old, new = (one["environment"].get(name, "none") for one in (before, after))
        if old != new:
            yield f"{name}: {old} -> {new}"


def _requirements(before: RunResult, after: RunResult) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    old = {one["id"]: one for one in before["requirements"]}
    for new in after["requirements"]:
        if new["id"] in old and old[new["id"]]["outcome"] != new["outcome"]:
            yield old[new["id"]], new


def _turned(before: RunResult, after: RunResult, *, red: bool) -> Iterator[str]:
    for old, new in _requirements(before, after):
        if new["outcome"] == "failed" if red else (old["outcome"], new["outcome"]) == CORRECTED:
            yield f"{new['id']} ({new['level']}): {new['statement']}"


def _others(before: RunResult, after: RunResult) -> Iterator[str]:
    for old, new in _requirements(before, after):
        if new["outcome"] != "failed" and (old["outcome"], new["outcome"]) != CORRECTED:
            yield f"{new['id']} ({new['level']}): {old['outcome']} -> {new['outcome']}"


def _causes(have: RunResult, lack: RunResult) -> Iterator[str]:
    known = {identity(finding) for finding in lack["findings"]}
    for finding in have["findings"]:
        if identity(finding) not in known:
            yield f"{finding['code']}: {finding['summary']}"


def _deliveries(before: RunResult, after: RunResult) -> Iterator[str]:
    def marks(result: RunResult) -> dict[tuple[str, ...], str]:
        keys = ("network", "kind", "sender", "receiver")
        return {tuple(one[key] for key in keys): one["mark"] for one in result["deliveries"]}

    old = marks(before)
    for cell, mark in marks(after).items():
        if cell in old and old[cell] != mark:
            network, kind, sender, receiver = cell
            yield f"{kind} on the {network} from {sender} to {receiver}: {old[cell]} -> {mark}"


def _figures(before: RunResult, after: RunResult) -> Iterator[str]:
    def values(result: RunResult) -> dict[tuple[str, str], list[float]]:
        found: dict[tuple[str, str], list[float]] = {}
        for one in result["figures"]:
            found.setdefault((one["name"], one["unit"]), []).append(float(one["value"]))
        return found

    old = values(before)
    for (name, unit), new in values(after).items():
        earlier = old.get((name, unit), [])
        if earlier and _differ(earlier, new):
            yield f"{name}: {statistics.median(earlier):g} -> {statistics.median(new):g} {unit}"


def _differ(earlier: list[float], later: list[float]) -> bool:
    """Whether the ranges of two series lie apart, by more than a fifth of the greater value."""
    low, high = sorted((earlier, later), key=statistics.median)
    return min(low + high) >= 0 and min(high) - max(low) > LEAST_CHANGE * max(high)

"""The machine-readable result, `conformance.json`, schema 1."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lab.requirements import AREAS
from reports.html.captures import FOLDER, name
from reports.verdict.conformance import Conformance, RequirementResult, tally
from reports.verdict.deliveries import Matrix

SCHEMA = 1


def document(
    conformance: Conformance,
    *,
    environment: Mapping[str, str],
    topology: Mapping[str, Any],
    run: Mapping[str, Any],
    findings: Sequence[Mapping[str, Any]],
    flakes: Sequence[Mapping[str, Any]] = (),
    tables: Sequence[Matrix],
    figures: Sequence[Mapping[str, Any]],
    captures: Collection[str] = (),
    generated: str,
    exit_status: int,
) -> dict[str, Any]:
    """Return the result as plain data; `generated` is the time of the run's end, ISO 8601."""
    return {
        "schema": SCHEMA,
        "verdict": conformance.verdict,
        "exit_status": exit_status,
        "generated": generated,
        "run": dict(run),
        "narrowed": conformance.narrowed,
        "stopped": conformance.stopped,
        "scope": list(conformance.scope),
        "counts": {level: asdict(tally(conformance.counted(level))) for level in ("MUST", "SHOULD")},
        "environment": dict(environment),
        "topology": dict(topology),
        "requirements": [_requirement(judged) for judged in conformance.requirements],
        "findings": [dict(finding) for finding in findings],
        "flakes": [dict(flake) for flake in flakes],
        "deliveries": [
            {"network": table.network, "kind": kind, "sender": sender, "receiver": receiver, "mark": mark}
            for table in tables
            for (kind, sender, receiver), mark in sorted(table.cells.items())
        ],
        "figures": [dict(figure) for figure in figures],
        "tests": [
            {
                "id": trial.nodeid,
                "requirements": list(trial.requirements),
                "outcome": trial.outcome,
                "reason": trial.reason,
                "remedy": trial.remedy,
                "seconds": round(trial.seconds, 4),
                "left_behind": trial.left_behind,
                "paths": [dict(path) for path in trial.paths],
                "capture": _capture(trial.nodeid, captures),
            }
            for trial in conformance.trials
        ],
    }


def _capture(nodeid: str, kept: Collection[str]) -> str:
    """The file of a test's frames, relative to the folder of results; empty where it has none."""
    return f"{FOLDER}/{name(nodeid)}" if name(nodeid) in kept else ""


def _requirement(judged: RequirementResult) -> dict[str, Any]:
    requirement = judged.requirement
    return {
        "id": requirement.id,
        "level": requirement.level,
        "outcome": judged.outcome,
        "reason": judged.reason,
        "tests": list(judged.tests),
        "area": AREAS[requirement.area],
        "statement": requirement.statement,
        "remedy": judged.remedy,
        "counts": judged.counts,
    }

"""What Allure shows and sorts by: area, requirement, severity; and the parameters that tell runs apart."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest

from lab.requirements import AREAS, CATALOGUE, Requirement, in_order

# Allure takes tests with the same name and the same parameters, as shown, for repetitions of one test and shows the
# last.  pytest's own id of a test's parameters distinguishes them, whatever their values are.
CASE = "case"

# The name under which allure-pytest registers its listener when results are asked for.
LISTENER = "allure_listener"


def active(config: pytest.Config) -> bool:
    """Tell whether Allure results are written in this process."""
    return bool(config.pluginmanager.hasplugin(LISTENER))


def label(items: Iterable[pytest.Item]) -> None:
    """Give each test that asserts requirements its epic, features, stories, tags and severity."""
    for item in items:
        ids = in_order(str(argument) for mark in item.iter_markers("requirement") for argument in mark.args)
        requirements = [CATALOGUE[identity] for identity in ids if identity in CATALOGUE]
        if not requirements:
            continue
        severity = "critical" if any(one.level == "MUST" for one in requirements) else "minor"
        area = AREAS[requirements[0].area]
        _add(item, "epic", "Overcast")
        # Allure's list of suites is of areas and requirements, not of files
        _add(item, "parentSuite", area)
        _add(item, "suite", f"{requirements[0].id} {requirements[0].statement}")
        item.add_marker(pytest.mark.allure_description(_description(item, requirements)))
        _add(item, "feature", *dict.fromkeys(AREAS[one.area] for one in requirements))
        _add(item, "story", *(f"{one.id} {one.statement}" for one in requirements))
        _add(item, "tag", *ids)
        _add(item, "severity", severity)


def _description(item: pytest.Item, requirements: Iterable[Requirement]) -> str:
    """Return what a test claims, and which requirements it asserts, with where each is from."""
    claim = inspect.cleandoc(getattr(getattr(item, "function", None), "__doc__", None) or "")
    sources = [f"{one.id} ({one.level}): {one.statement} Source: {one.source}" for one in requirements]
    return "\n\n".join(part for part in (claim, *sources) if part)


def _add(item: pytest.Item, kind: str, *values: str) -> None:
    item.add_marker(pytest.mark.allure_label(*values, label_type=kind))


def of_run(
    environment: Mapping[str, str], findings: Iterable[Mapping[str, Any]], environ: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Yield the files of Allure's results that are about the run: name and content."""
    yield "environment.properties", "".join(f"{key}={value}\n" for key, value in environment.items())
    codes = dict.fromkeys(str(finding["code"]) for finding in findings)
    # a failure that has causes ends its first line with their codes
    categories = [
        {"name": code, "messageRegex": rf"(?s).*\b{re.escape(code)}\b.*", "matchedStatuses": ["failed"]}
        for code in codes
    ]
    yield "categories.json", json.dumps(categories, indent=1)
    if executor := _executor(environ):
        yield "executor.json", json.dumps(executor, indent=1)


def _executor(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what ran the tests, as Allure links it; empty where that is no CI service known here."""
    if environ.get("GITHUB_ACTIONS") == "true":
        url = "{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/actions/runs/{GITHUB_RUN_ID}".format_map(environ)
        return {"name": "GitHub Actions", "type": "github", "buildName": environ["GITHUB_RUN_ID"], "buildUrl": url}
    if environ.get("GITLAB_CI") == "true":
        names = {"buildName": environ["CI_JOB_ID"], "buildUrl": environ["CI_JOB_URL"]}
        return {"name": "GitLab CI", "type": "gitlab", **names}
    return {}


def set_case(item: pytest.Item) -> None:
    """Show pytest's id of a test's parameters with it."""
    if callspec := getattr(item, "callspec", None):
        set_parameters({CASE: callspec.id}, distinguish=True)


def set_parameters(values: Mapping[str, str], *, distinguish: bool) -> None:
    """Show values with the running test; those that distinguish keep a history of their own for each value."""
    import allure

    for name, value in values.items():
        allure.dynamic.parameter(name, value, excluded=not distinguish)

"""The environment of the run: facts about the lab, the chosen options, and the versions in use."""

from __future__ import annotations

import os
import platform
import re
import shlex
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from lab.output.secrets import cleaned
from reports.html import drawing

LIBRARIES = ("pytest", "pyroute2", "scapy")
CHOICES = ("topology", "tunnel", "provider", "spokes")

PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


@cache
def version() -> str:
    """Return the version of this checkout, which only pyproject.toml has (nothing is installed)."""
    found = re.search(r'^version = "(.+)"$', PROJECT.read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else "unknown"


def command(arguments: Iterable[str]) -> str:
    """Return the command line of a run without what may be secret."""
    return cleaned(shlex.join(["pytest", *arguments]))


def own_environment(config: pytest.Config) -> dict[str, str]:
    """Return the versions, this machine's kernel and the options, as strings."""
    facts = {choice: str(value) for choice in CHOICES if (value := config.getoption(choice, default=None)) is not None}
    facts["overcast"] = version()
    facts["host_kernel"] = os.uname().release
    facts["architecture"] = os.uname().machine
    facts["python"] = platform.python_version()
    for library in LIBRARIES:
        try:
            facts[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return facts


def lab_environment(config: pytest.Config) -> dict[str, str]:
    """Return what the plugins tell about the lab of this process."""
    return merged(config.hook.pytest_overcast_environment(config=config))


def lab_topology(config: pytest.Config) -> dict[str, Any]:
    """Return the overlay of this process's lab as data; empty when there is none."""
    topology = config.hook.pytest_overcast_topology(config=config)
    return drawing.data(topology) if topology else {}


def merged(parts: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Merge facts; where several processes saw different things, all of them are named."""
    values: dict[str, dict[str, None]] = {}
    for part in parts:
        for key, value in part.items():
            values.setdefault(key, {})[str(value)] = None
    return {key: ", ".join(seen) for key, seen in values.items()}

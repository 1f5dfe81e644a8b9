"""
A process that runs pytest repeatedly on request: the cost of a run before its first test is paid once.

    stdin   a line for each run, its arguments as a JSON list
    stdout  a line for each, what it printed as a JSON string

Machines are kept from one run to the next, as they are from one test to the next; each run builds labs of its own.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys

import execnet
import pytest

from lab.errors import EnvironmentProblem
from lab.machines import choose
from lab.machines.choose import Starting
from lab.machines.node import Agent
from lab.tunnels import DEFAULT


class Machines:
    """The machines of this process, by kind of tunnel; one that a fault was too much for is replaced."""

    def __init__(self) -> None:
        self._starting: dict[str, Starting] = {}

    def starting(self, tunnel: str) -> Starting:
        """The machine that makes tunnels of a kind."""
        kept = self._starting.pop(tunnel, None)
        if kept is not None:
            try:
                kept.machine().call(Agent.hello)
            except EnvironmentProblem:
                kept.close()
                kept = None
        self._starting[tunnel] = kept or choose.start(choose.choose("auto", tunnel), execnet.Group())
        return self._starting[tunnel]


class Kept:
    """The machines of this process, handed to every run as its own."""

    def __init__(self) -> None:
        self._machines = Machines()

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Give the run a machine."""
        from fixtures.built_labs.machines import STARTING  # not before pytest has it imported as a plugin

        config.stash[STARTING] = self._machines.starting(config.getoption("tunnel") or DEFAULT)

    @pytest.hookimpl(tryfirst=True)
    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """Keep it from being closed."""
        from fixtures.built_labs.machines import STARTING

        config.stash.setdefault(STARTING, None)
        del config.stash[STARTING]


def main() -> None:
    """Serves until there is nothing more to run."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what anything here prints must not meet the answers
    kept = Kept()
    for line in sys.stdin:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            pytest.main(json.loads(line), plugins=[kept])
        print(json.dumps(printed.getvalue()), file=answers, flush=True)


if __name__ == "__main__":
    main()

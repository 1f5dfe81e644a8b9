"""A program that keeps running inside a node: a server, a router, whatever an application brings."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass

from lab.errors import CheckFailed, EnvironmentProblem
from lab.machines.node import Agent, Node

READY = 10.0  # seconds until a program that was started must be ready; a busy guest takes one
OUTPUT_LINES = 15  # of what it said, in a message


@dataclass(frozen=True)
class Program:
    """One program that was started, and stops at the end of a `with`; `handle` is its number at the machine's agent."""

    name: str
    node: Node
    handle: int

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def await_output(self, text: str, *, within: float) -> str:
        """
        Waits until it prints `text`, after what was waited for before; returns all its output.

        CheckFailed when it does not within so many seconds, or ends.
        """
        found, message, output = self._awaited(text, within)
        if not found:
            raise CheckFailed(message)
        return output

    def _awaited(self, text: str, within: float) -> tuple[bool, str, str]:
        answer = self.node.machine.call(Agent.program_await, program=self.handle, text=text, timeout=within)
        status = answer["status"]
        how = f"within {within:g} s" if status is None else f"before it ended with status {status}"
        lines = answer["output"].strip().splitlines()[-OUTPUT_LINES:]
        said = "".join(f"\n  {line}" for line in lines) or " nothing"
        message = f"{self.name} on {self.node.name} did not say {text!r} {how}; it said:{said}"
        return bool(answer["found"]), message, str(answer["output"])

    def output(self) -> str:
        return self._awaited("", 0.0)[2]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> str:
        """Ends it, and all that it started; returns all that it said.  It may have ended already."""
        return str(self.node.machine.call(Agent.program_stop, program=self.handle, signal=int(number)))


def start(
    node: Node, *arguments: str, package: str, files: Mapping[str, str] | None = None, ready: str = ""
) -> Program:
    """
    Starts a program in a node: it runs until it is stopped, or the lab is closed.

    `files` are in its working directory, which is an empty /run of its own; one with a whole path lies over the
    machine's own file, for this program alone.  Returns when it has said `ready`.

    Raises EnvironmentProblem when it is not installed (Debian has it in `package`), or does not become ready.
    """
    try:
        handle = node.ask(Agent.program_start, arguments=list(arguments), files=dict(files or {}))
    except FileNotFoundError:
        raise EnvironmentProblem(
            f"{arguments[0]} is not installed", remedy=f"sudo apt-get install --no-install-recommends {package}"
        ) from None
    program = Program(arguments[0], node, handle)
    if ready:
        found, message, _ = program._awaited(ready, READY)
        if not found:
            program.stop()
            raise EnvironmentProblem(message)
    return program

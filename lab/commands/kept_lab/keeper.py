"""
The process that keeps a lab between `up` and `down`.

    overcast up --fork--> keeper --- agent (this kernel) or guest: a child, which the kernel ends with the keeper
                            |
    overcast exec, down ----+ rendezvous: info, exec, down

Nothing of it is on a disk: kill it in any way, and the lab is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Listener
from typing import Any

import execnet

from lab import laboratory
from lab.commands.kept_lab import drawing
from lab.commands.kept_lab.rendezvous import Connection, listener
from lab.commands.options import Plan
from lab.errors import EnvironmentProblem, OvercastError
from lab.machines import choose
from lab.machines.base import Agent, Machine

TERMINAL = "from lab.agent.execution.terminal import serve; serve(channel)"
FAREWELL = 2.0  # seconds that the machine gets to end by itself


def detach(plan: Plan, choice: choose.Choice) -> dict[str, Any]:
    """
    Starts a keeper and returns its description of the lab once that is built.

    Raises what kept it from that.  An interrupt meanwhile ends the keeper, and with it all that it started.
    """
    reading, writing = os.pipe()
    keeper = os.fork()
    if keeper == 0:
        status = 1
        try:
            os.close(reading)
            _leave_terminal()
            status = Keeper(plan, choice).run(lambda message: _report(writing, message))
        finally:
            os._exit(status)
    os.close(writing)
    try:
        with open(reading, "rb") as pipe:
            report = pipe.read()
    except KeyboardInterrupt:
        os.kill(keeper, signal.SIGKILL)
        raise
    if not report:
        raise EnvironmentProblem("the process that keeps the lab ended without output", remedy="./overcast doctor")
    description: dict[str, Any] = json.loads(report)
    if "problem" in description:
        raise EnvironmentProblem(description["problem"], remedy=description["remedy"])
    return description


def _report(writing: int, message: dict[str, Any]) -> None:
    os.write(writing, json.dumps(message).encode())
    os.close(writing)


def _leave_terminal() -> None:
    """A session of its own: neither an interrupt typed there nor its end reaches the lab."""
    os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)


class Keeper:
    """Builds the lab, then answers every client until it is ended."""

    def __init__(self, plan: Plan, choice: choose.Choice) -> None:
        self.plan, self.choice = plan, choice
        self.group = execnet.Group()
        self.description: dict[str, Any] = {}
        self.places: dict[str, str] = {}
        self.ended = threading.Event()
        self._machine: Machine
        self._starting: choose.Starting

    def run(self, report: Callable[[dict[str, Any]], None]) -> int:
        """The life of the keeper; returns its exit status."""
        try:
            listening = listener()
            self._build()
        except OvercastError as problem:
            report({"problem": problem.message, "remedy": problem.remedy})
            return 1
        except Exception as error:
            report({"problem": f"the lab could not be built: {error}", "remedy": None})
            return 1
        try:
            report(self.description)
        except BrokenPipeError:  # the client is gone
            return 1
        threading.Thread(target=self._accept, args=(listening,), daemon=True).start()
        self.ended.wait()
        return 0

    def _build(self) -> None:
        self._starting = choose.start(self.choice, self.group, len(self.plan.topology.spokes))
        self._machine = self._starting.machine()
        began = time.perf_counter()
        lab = laboratory.build(self._machine, self.plan.topology, self.plan.underlay)
        took = time.perf_counter() - began
        calls = [node.call(Agent.namespace_path) for node in lab.nodes.values()]
        self.places = dict(zip(lab.nodes, self._machine.batch(calls), strict=True))
        self.description = {
            "title": drawing.title(self.plan.topology, self.plan.underlay),
            "keeper": os.getpid(),
            "seconds": took,
        }

    def _accept(self, listening: Listener) -> None:
        while True:
            connection = Connection(listening.accept())
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: Connection) -> None:
        with contextlib.suppress(EOFError, OSError):
            if connection.peer not in (0, os.geteuid()):
                connection.send_json(problem="the lab belongs to another user", remedy="run the same command with sudo")
                return
            request = connection.receive_json()
            verbs: dict[str, Callable[..., None]] = {"info": self._info, "exec": self._exec, "down": self._down}
            verbs[request.pop("do")](connection, **request)
        connection.close()

    def _info(self, connection: Connection) -> None:
        connection.send_json(**self.description)

    def _exec(self, connection: Connection, node: str, **order: Any) -> None:
        if node not in self.places:
            connection.send_json(misused=f"unknown node {node!r}: expected one of {', '.join(self.places)}")
        elif self.choice.kind == "local":
            # the caller enters by itself: its program then has the caller's own terminal and files
            connection.send_json(enter=self.places[node], user=os.geteuid() != 0)
        else:
            self._relay(connection, self.places[node], order)

    def _relay(self, connection: Connection, namespace: str, order: dict[str, Any]) -> None:
        try:
            channel = self._machine.gateway.remote_exec(TERMINAL)
            channel.send(json.dumps({"namespace": namespace, **order}))
        except OSError as error:
            lost = self._machine.lost(str(error))
            connection.send_json(problem=lost.message, remedy=lost.remedy or "./overcast down; ./overcast up")
            return
        connection.send_json(relay=True)
        backwards = threading.Thread(target=_pass_back, args=(channel, connection), daemon=True)
        backwards.start()
        with contextlib.suppress(EOFError, OSError):
            while True:
                channel.send(connection.receive())
        channel.close()
        backwards.join()

    def _down(self, connection: Connection) -> None:
        """The lab goes with its machine; whatever state that is in, the keeper ends."""
        try:
            self._starting.close()
            self.group.terminate(FAREWELL)
            connection.send_json(done=True)
        finally:
            self.ended.set()


def _pass_back(channel: Any, connection: Connection) -> None:
    with contextlib.suppress(EOFError, OSError, execnet.RemoteError):
        while True:
            connection.send(*channel.receive())
    connection.hang_up()

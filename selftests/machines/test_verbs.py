"""
Verbs of the agent are named by its own methods, so that a type checker sees them, their arguments and results.

It sees as well what a lab of live hosts does not have: their cloud, their machine, changes.
"""

from __future__ import annotations

import pytest

api = pytest.importorskip("mypy.api", reason="mypy is not installed: pip install -r requirements-dev.lock")

HEAD = """
from lab.live import LiveLab
from lab.machines.base import Machine, call
from lab.machines.node import Agent, Node, ask_all
def check(node: Node, machine: Machine, live: LiveLab) -> None:
"""
WRONG = {
    "verb": "node.ask(Agent.devise_to, to='192.0.2.1')",
    "field": "node.ask(Agent.device_to, too='192.0.2.1')",
    "type of a field": "node.ask(Agent.device_to, to=1)",
    "missing field": "node.ask(Agent.device_to)",
    "a socket's field": "node.ask(Agent.open, family=2, type=1, protocol=0, binds=[])",
    "no verb of a node": "node.ask(Agent.take, endpoints=[1])",
    "a node's verb without node": "machine.call(Agent.counters)",
    "field in a batch": "ask_all([(node, call(Agent.take, sockets=[1]))])",
    "result": "x: int = node.ask(Agent.device_to, to='192.0.2.1')",
    "the cloud of live hosts": "live.cloud",
    "the machine of live hosts": "live.machine",
    "the end of live hosts": "live.close()",
    "a change of live hosts": "live.forget_neighbours()",
}
RIGHT = (
    "x: str = node.ask(Agent.device_to, to='192.0.2.1')",
    "y: list[str] = ask_all([(node, node.call(Agent.device_to, '192.0.2.1'))])",
    "z: int = node.ask(Agent.open, family=2, type=1, protocol=0, bind=['', 1])",
    "live.hub.node.ask(Agent.counters)",
)


def test_mypy_finds_a_wrong_call(tmp_path):
    """A misspelt verb or field, a wrong type and what a lab lacks each have their error; correct calls have none."""
    source = HEAD + "".join(f"    {line}\n" for line in (*RIGHT, *WRONG.values()))

    (tmp_path / "calls.py").write_text(source)

    report, errors, _ = api.run(["--no-error-summary", str(tmp_path / "calls.py")])

    found = {int(line.split(":")[1]) for line in report.splitlines() if ": error: " in line}
    first = source.count("\n", 0, source.index(WRONG["verb"])) + 1
    assert found == set(range(first, first + len(WRONG))), report + errors

"""
Nothing is left behind, however a run ends, and two runs never meet.

A lab's namespaces have no names: what keeps them is the processes of the run, so they are gone when those are.
"""

import contextlib
import os
import re
import signal
from pathlib import Path

import execnet
import pytest

from lab.errors import MachineLost
from lab.machines import choose
from lab.machines.base import Agent, call
from selftests.lab.processes import Watched, descendants, ended
from selftests.lab.runs.kill_guest import KILLS

KINDS = pytest.mark.parametrize("tunnel", ["vxlan", "gretap"], ids=["over=local", "over=guest"])
A_TEST = "tests/broadcast/test_delivery.py"
GONE_WITHIN = 60.0  # seconds, on a busy machine too; milliseconds in practice
ENDED_WITHIN = 2.5  # seconds; less than execnet waits for an agent that has not noticed its end


@pytest.fixture
def watch():
    """Starts runs that are watched, and ends those that a failing test leaves."""
    runs = []

    def start(*arguments):
        runs.append(Watched(arguments))
        return runs[-1]

    yield start
    for run in runs:
        run.process.kill()
        run.process.communicate()


@pytest.fixture
def held(watch, tmp_path, tunnel):
    """A run that stands still in the middle of its first test."""
    run = watch("-s", "-p", "selftests.lab.hold", f"--tunnel={tunnel}", f"--reports={tmp_path}", A_TEST)
    run.wait_for_line("READY")
    return run


def names_left():
    """What other programs could see by name: named namespaces, and devices in the machine's own stack."""
    named = Path("/run/netns")
    return sorted(named.glob("*")), sorted(Path("/sys/class/net").iterdir())


@KINDS
def test_nothing_is_left_after_sigkill_of_pytest(held):
    """Killed in the middle of a test, pytest takes agent, guest and namespaces with it."""
    before = names_left()
    members = held.members()
    assert len(members) > 1

    held.process.kill()

    assert held.ended(members, GONE_WITHIN) == []
    assert names_left() == before


@KINDS
def test_ctrl_c_ends_a_run_in_order(held):
    """Interrupted in the middle of a test, a run reports it without a traceback of ours and leaves nothing."""
    members = held.members()

    held.process.send_signal(signal.SIGINT)

    said = held.output()
    assert held.ended(members, GONE_WITHIN) == []
    assert held.process.returncode == 2
    assert "Interrupted: interrupted by SIGINT" in said
    assert "Traceback" not in said
    assert "INTERNALERROR" not in said


@KINDS
def test_a_killed_agent_is_the_environments_failure(held):
    """When the machine dies under a test, the run still ends in order."""
    members = [member for member in held.members() if member != held.process.pid]

    for member in members:
        with contextlib.suppress(ProcessLookupError):  # it ended with one that was killed before
            os.kill(member, signal.SIGKILL)
    held.process.send_signal(signal.SIGINT)
    said = held.output()

    assert held.ended([*members, held.process.pid], GONE_WITHIN) == []
    assert "INTERNALERROR" not in said


def test_a_lost_guest_is_replaced(watch, tmp_path):
    """When its guest dies, a run repeats the test in a new one, continues, and reports it."""
    run = watch("-p", "selftests.lab.runs.kill_guest", "--kernel=guest", f"--reports={tmp_path}", A_TEST)

    said = run.output()

    assert run.process.returncode == 10  # incomplete: narrowed by selection
    assert re.search(r"^=+ \d+ passed in", said, re.MULTILINE), said
    assert "repeated in a new guest kernel: 1 test\n    the guest kernel ended while it was in use (killed by" in said
    assert "the selected tests cover " in said


def test_a_guest_that_is_lost_again_ends_the_run(watch, tmp_path, monkeypatch):
    """When the new guest dies too, the run ends with one message, and its status is a failure."""
    monkeypatch.setenv(KILLS, "2")
    run = watch("-p", "selftests.lab.runs.kill_guest", "--kernel=guest", f"--reports={tmp_path}", A_TEST)

    said = run.output()

    assert run.process.returncode == 1
    assert re.search(r"\b1 error in", said), said
    assert "run ended early: the guest kernel ended while it was in use (killed by SIGKILL)" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
@KINDS
def test_an_agent_ends_when_its_machine_is_closed(tunnel, busy):
    """Whatever the agent does, nothing of its machine is left a moment after that is closed; again and again."""
    for _ in range(4):
        before = set(descendants(os.getpid()))
        starting = choose.start(choose.choose("auto", tunnel), execnet.Group())
        machine = starting.machine()
        if busy:
            machine.post(
                [call(Agent.run, node=machine.call(Agent.node_home), arguments=["sleep", "1000"], timeout=1000)]
            )
        members = [pid for pid in descendants(os.getpid()) if pid not in before]
        assert members

        starting.close()

        assert ended(members, ENDED_WITHIN) == []


def test_a_lost_machine_is_named():
    """A call to a machine whose agent died raises MachineLost with its name, at once."""
    starting = choose.start(choose.choose("host", "vxlan"), execnet.Group())
    machine = starting.machine()
    agent = machine.call(Agent.hello)["outer_pid"]

    os.kill(agent, signal.SIGKILL)

    with pytest.raises(MachineLost, match="the agent on this machine was lost"):
        machine.call(Agent.hello)
    starting.close()


def test_two_runs_side_by_side_never_meet(watch, tmp_path):
    """Two runs at the same time, with the same names and addresses, both pass."""
    runs = [watch("-q", "--tunnel=vxlan", f"--reports={tmp_path / name}", A_TEST) for name in ("one", "two")]

    outputs = [run.output() for run in runs]

    assert [" passed" in said and " failed" not in said for said in outputs] == [True, True], "\n".join(outputs)

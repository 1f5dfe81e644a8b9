"""
Programs that keep running in a node: started with files of their own, awaited by what they say, gone with their node.

    this process --execnet-- agent --starts--> program in a node, with an empty /run of its own
"""

import time

import pytest

from lab.errors import CheckFailed, EnvironmentProblem
from lab.machines import program
from lab.machines.node import Agent
from lab.stack.changes import addr_add, addr_del

SOON = 5.0  # seconds; milliseconds in practice
SHELL = {"package": "dash", "ready": "ready"}
SCRIPT = """#!/bin/sh
trap 'echo ended; exit 3' TERM
cat words; ls; ip -br link show type bridge; echo ready
sleep 60 & wait
"""


def start(node, script="echo ready; sleep 60 & wait", **files):
    return program.start(node, "sh", "-c", script, files=files, **SHELL)


def test_it_runs_inside_the_node_with_its_files(lab):
    """A program sees the devices of its node, and in its working directory only the given files."""
    started = program.start(lab.hub.node, "sh", "script", files={"script": SCRIPT, "words": "hello\n"}, **SHELL)

    lines = started.output().splitlines()
    assert lines[:3] == ["hello", "script", "words"]
    assert "bridge0" in lines[3]


def test_two_programs_do_not_see_each_others_files(lab):
    """A file that one program leaves in /run, such as its process ID, does not exist for another."""
    start(lab.hub.node, "echo 1 >/run/pid; echo ready; sleep 60 & wait")

    other = start(lab.hub.node, "ls /run; echo ready; sleep 60 & wait")

    assert other.output() == "ready\n"


def test_a_file_lies_over_the_machines_own_for_one_program(lab):
    """A file with a whole path is seen there by its program, and by no other."""
    mine = program.start(
        lab.hub.node, "sh", "-c", "cat /etc/passwd; echo ready; sleep 60 & wait",
        files={"/etc/passwd": "of-my-own\n"}, **SHELL,
    )  # fmt: skip

    assert mine.output() == "of-my-own\nready\n"
    assert "of-my-own" not in start(lab.hub.node, "cat /etc/passwd; echo ready; sleep 60 & wait").output()


def test_words_are_awaited_one_after_the_other(lab):
    """A wait begins where the previous one ended: the same text, printed once, is not found twice."""
    started = start(lab.hub.node, "echo once; echo ready; sleep 60 & wait")

    with pytest.raises(CheckFailed, match="did not say 'once' within 0 s; it said:\n  once\n  ready"):
        started.await_output("once", within=0)


def test_a_program_that_ends_is_not_waited_for(lab):
    """A wait ends with the program, long before its deadline, and reports its status."""
    before = time.monotonic()

    with pytest.raises(EnvironmentProblem, match="did not say 'ready' before it ended with status 7; it said:\n  oh"):
        start(lab.hub.node, "echo oh; exit 7")

    assert time.monotonic() - before < program.READY


def test_it_ends_on_a_signal_and_its_last_output_is_returned(lab):
    """Stopping sends the signal, waits for the end, and returns all output; a second stop changes nothing."""
    started = program.start(lab.hub.node, "sh", "script", files={"script": SCRIPT, "words": ""}, **SHELL)

    assert started.stop().endswith("ended\n")
    assert started.stop().endswith("ended\n")


def test_it_ends_with_its_lab(make_lab):
    """Closing a lab ends its programs and their children, also those that ignore the signal."""
    lab = make_lab()
    started = start(lab.hub.node, "trap '' TERM; sleep 60 & echo $!; echo ready; wait")
    child = started.output().split()[0]

    lab.close()

    other = make_lab().hub.node.run("sh", "-c", f"kill -0 {child}")
    assert other["status"] != 0


def test_a_missing_program_is_named_with_its_package(lab):
    """A program that is not installed is an EnvironmentProblem that names its package."""
    with pytest.raises(EnvironmentProblem, match="no-such-program is not installed") as refused:
        program.start(lab.hub.node, "no-such-program", package="no-such-package")

    assert "apt-get install --no-install-recommends no-such-package" in (refused.value.remedy or "")


def test_an_address_is_awaited(lab):
    """An address that is there is found at once, one that is not by the deadline only, one that went is gone."""
    node, address = lab.hub.node, lab.hub.address()

    def waited(held, timeout=0.0):
        return not node.ask(Agent.await_entries, "addresses", [{"local": address}], timeout, present=held)

    assert (waited(True), waited(False)) == (True, False)
    gone = {"device": lab.hub.plan.device, "address": str(lab.hub.plan.overlay)}
    with node.changed(addr_del(**gone), addr_add(**gone)):
        assert (waited(True), waited(False, SOON)) == (False, True)

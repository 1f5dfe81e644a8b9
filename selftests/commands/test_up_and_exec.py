"""
A lab that is kept: `up` builds and draws it, `exec` enters its nodes.

    up --- keeper --- agent on this kernel | guest kernel        the same tests for both
    exec ----'
"""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from lab.errors import EnvironmentProblem
from lab.machines.choose import choose
from selftests.commands.conftest import MACHINES, PATIENCE, Checkout


@pytest.fixture(scope="module", params=MACHINES.items(), ids=list(MACHINES))
def up(request: pytest.FixtureRequest, checkout: Checkout) -> Iterator[str]:
    """A lab that is up; its value is what `up` printed."""
    kernel, tunnel = request.param
    try:
        choose(kernel, tunnel)
    except EnvironmentProblem as problem:
        pytest.skip(str(problem))
    done = checkout.run("up", f"--kernel={kernel}", f"--tunnel={tunnel}", "--routers=1")
    assert done.status == 0, done.errors
    yield done.output
    down = checkout.run("down")
    assert down.status == 0, down.errors


def test_up_draws_the_lab(up: str) -> None:
    """Each node is drawn with its addresses on both networks, and so is the way between them."""
    assert re.search(r"hub +bridge0 +172\.16\.254\.1/24 +ens3 +10\.0\.0\.197/24", up)
    assert re.search(r"├─ spoke1 +\w+ +172\.16\.254\.2/24", up)
    assert re.search(r"└─ spoke2 +\w+ +172\.16\.254\.3/24", up)
    assert "hub ─ vcn0 ─ r1 ─ vcn1 ─ spokes" in up
    assert "./overcast down" in up


@pytest.mark.parametrize(("node", "address"), [("hub", "172.16.254.1"), ("spoke2", "172.16.254.3"), ("r1", "10.0.0.1")])
def test_exec_is_inside_the_node(up: str, checkout: Checkout, node: str, address: str) -> None:
    """The command sees the node's own addresses."""
    script = "import socket; s = socket.socket(); s.bind((__import__('sys').argv[1], 0)); print('bound')"
    done = checkout.run("exec", node, "--", *checkout.command()[:1], "-c", script, address)
    assert (done.status, done.output) == (0, "bound\n"), done.errors
    elsewhere = checkout.run("exec", "vcn", "--", *checkout.command()[:1], "-c", script, address)
    assert elsewhere.status == 1


def test_exec_shows_the_devices_of_the_node(up: str, checkout: Checkout) -> None:
    """/sys is the node's, as programs that look there expect."""
    done = checkout.run("exec", "spoke1", "ls", "/sys/class/net")
    assert {"lo", "ens3"} <= set(done.output.split())
    assert "bridge0" not in done.output


def test_exec_passes_input_output_errors_and_status(up: str, checkout: Checkout) -> None:
    """Standard input, both outputs and the exit status are passed unchanged."""
    done = checkout.run("exec", "hub", "--", "sh", "-c", "cat; echo bad >&2; exit 7", typed="line\n" * 20_000)
    assert (done.status, done.output, done.errors) == (7, "line\n" * 20_000, "bad\n")


def test_exec_keeps_the_directory_and_odd_arguments(up: str, checkout: Checkout) -> None:
    """The command starts where the user is, with its arguments as they were."""
    odd = ["", "a b", "$HOME", "'", "--help", "ü\udcff"]
    shown = checkout.run(
        "exec", "hub", "--", *checkout.command()[:1], "-c", "import sys; print(ascii(sys.argv[1:]))", *odd
    )
    assert shown.output.strip() == ascii(odd)
    assert checkout.run("exec", "hub", "pwd").output.strip() == str(checkout.path)


def test_exec_names_what_is_missing(up: str, checkout: Checkout) -> None:
    """A node that does not exist is answered with those that do, a command that does not with status 127."""
    node = checkout.run("exec", "spoke9", "true")
    assert node.status == 2
    assert "unknown node 'spoke9'" in node.errors
    assert "vcn0, vcn1" in node.errors or "spoke2" in node.errors
    command = checkout.run("exec", "hub", "no-such-command")
    assert command.status == 127
    assert "no-such-command" in command.errors
    for done in (node, command):
        assert "Traceback" not in done.errors


def test_exec_gives_a_terminal(up: str, checkout: Checkout) -> None:
    """With a terminal on the caller's side the command has one too: its lines are edited and ^C interrupts it."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(checkout.path)
        script = "test -t 0 && test -t 1 && echo ready; read line; echo got $line; exec cat"
        os.execv(checkout.command()[0], checkout.command("exec", "hub", "--", "sh", "-c", script))
    seen = b""
    for awaited, answer in ((b"ready", b"hello\n"), (b"got hello", b"\x03")):
        deadline = time.monotonic() + PATIENCE
        while awaited not in seen:
            assert select.select([terminal], [], [], deadline - time.monotonic())[0], seen
            seen += os.read(terminal, 4096)
        os.write(terminal, answer)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) in (130, -signal.SIGINT)
    os.close(terminal)


def test_exec_passes_signals_on(up: str, checkout: Checkout) -> None:
    """A SIGTERM for the caller reaches the command, whose own end decides."""
    script = "trap 'echo ended; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    running = subprocess.Popen(
        checkout.command("exec", "hub", "--", "sh", "-c", script), cwd=checkout.path, stdout=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    running.terminate()
    assert running.wait(PATIENCE) in (9, -signal.SIGTERM)
    running.stdout.close()


def test_up_twice_is_refused(up: str, checkout: Checkout) -> None:
    """One lab a checkout: the second `up` names the first and what removes it."""
    done = checkout.run("up", "--spokes=3")
    assert done.status == 1
    assert "is up already" in done.errors
    assert "./overcast down" in done.errors

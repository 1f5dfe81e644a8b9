"""
A connection that ends, however it ends: the error names the host, and the host is left as it was.

    this process --ssh-- sshd -- agent -- a program that it runs
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import execnet
import execnet.gateway_io
import pytest

from lab.errors import MachineLost
from lab.machines.base import Agent, Machine, call
from lab.machines.live import hosts
from lab.machines.live.ssh import BEATS
from lab.machines.live.ssh_link import Login, SshLink
from lab.stack.changes import link_set
from selftests.live.conftest import Reach
from selftests.live.rig import Rig, RigHost

ROOT = Path(__file__).resolve().parents[3]
SILENCE = 1.5  # seconds; the default would make these tests slow


SUDO = "opc@hub?sudo=true" if shutil.which("sudo") else "opc@hub"


def blocked(host: RigHost, machine: Machine) -> int:
    """Has the agent run a program that ends by itself only when the test is long over; returns the request's number."""
    node = machine.call(Agent.node_home)
    request = machine.post([call(Agent.run, node=node, arguments=["sleep", "1000"], timeout=1000)])
    until = time.monotonic() + 5
    while not any("sleep 1000" in command for command in host.processes().values()):
        assert time.monotonic() < until
    return request


def ssh_clients() -> list[int]:
    """The ssh processes that this process started."""
    children = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    pids = [int(pid) for file in children for pid in file.read_text().split()]
    return [pid for pid in pids if Path(f"/proc/{pid}/comm").read_text().strip() == "ssh"]


def test_closing_ends_agents_at_once(rig: Rig, reach: Reach) -> None:
    """Closing takes no longer for three hosts than for one, and leaves no process."""
    connected = reach(rig.specs)
    assert [len(host.agents()) for host in rig.hosts.values()] == [1, 1, 1]

    connected.close()

    assert [host.left(1.0) for host in rig.hosts.values()] == [{}, {}, {}]
    assert ssh_clients() == []


def test_closing_ends_an_agent_that_is_busy(rig: Rig, reach: Reach) -> None:
    """An agent in the middle of a call ends too, with the program that it runs."""
    connected = reach("hub,spoke1")
    blocked(rig.hosts["hub"], connected.machines["hub"])

    connected.close()

    assert rig.hosts["hub"].left() == {}


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_the_client_dies(rig: Rig, reach: Reach, busy: bool) -> None:
    """When ssh is killed here, the next request to the host fails at once, and the agent ends."""
    machine = reach(f"{SUDO},spoke1").machines["hub"]
    request = blocked(rig.hosts["hub"], machine) if busy else 0

    os.kill(ssh_clients()[0], signal.SIGKILL)

    with pytest.raises(MachineLost, match=r"opc@hub \(hub\) was lost: .*\n.*\n.*ended by SIGKILL"):
        machine.answer(request) if busy else machine.call(Agent.hello)
    assert rig.hosts["hub"].left() == {}


def test_the_host_ends_the_session(rig: Rig, reach: Reach) -> None:
    """When the host drops the login (as in a shutdown), its name and how ssh ended are in the error."""
    connected = reach("hub,spoke1")
    sessions = [pid for pid, command in rig.hosts["hub"].processes().items() if command.startswith("sshd")]

    for pid in sessions:
        os.kill(pid, signal.SIGKILL)

    with pytest.raises(MachineLost, match=r"hub was lost: .*\n(.*\n)*.*ssh ended with status 255"):
        connected.machines["hub"].call(Agent.hello)
    assert connected.machines["spoke1"].call(Agent.hello)


def test_the_agent_dies(rig: Rig, reach: Reach) -> None:
    """When the agent itself is killed, the host is lost and named."""
    machine = reach("hub,spoke1").machines["hub"]

    (agent,) = rig.hosts["hub"].agents()
    os.kill(agent, signal.SIGKILL)

    with pytest.raises(MachineLost, match=r"hub was lost"):
        machine.call(Agent.hello)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_host_ends_the_agent(rig: Rig, reach: Reach, number: signal.Signals) -> None:
    """An agent that gets a signal ends in order, and ends its program."""
    machine = reach("hub,spoke1").machines["hub"]
    request = blocked(rig.hosts["hub"], machine)

    (agent,) = rig.hosts["hub"].agents()
    os.kill(agent, number)

    with pytest.raises(MachineLost, match=rf"hub was lost: .*\n(.*\n)*.*the agent received {number.name}"):
        machine.answer(request)
    assert rig.hosts["hub"].left() == {}


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_the_network_is_cut(rig: Rig, reach: Reach, busy: bool) -> None:
    """When packets are lost silently, both sides detect it: the call fails, and the agent ends by itself."""
    machine = reach("hub,spoke1", silence=SILENCE).machines["hub"]
    hub = rig.hosts["hub"]
    request = blocked(hub, machine) if busy else 0
    (agent,) = hub.agents()
    ended = os.pidfd_open(agent)

    change = {"device": "hub"}
    with rig.lab.fabric.changed(link_set(**change, up=False), link_set(**change, up=True)):
        began = time.monotonic()
        with pytest.raises(MachineLost, match=r"hub was lost: .*\n(.*\n)*.*no sign of life for 1.5 s"):
            machine.answer(request) if busy else machine.call(Agent.hello)
        assert time.monotonic() - began < 3 * SILENCE
        _await_end(ended, 3 * SILENCE)
    # what is left of sshd's session learns of it with its next packet
    for pid, command in hub.processes().items():
        if command.startswith("sshd"):
            os.kill(pid, signal.SIGTERM)


def test_silence_is_not_idleness(rig: Rig, reach: Reach) -> None:
    """An idle connection is kept alive, also while the agent is busy."""
    silence = 0.5
    machine = reach("hub,spoke1", silence=silence).machines["hub"]
    node = machine.call(Agent.node_home)

    result = machine.call(Agent.run, node=node, arguments=["sleep", str(3 * silence)])

    assert BEATS > 1
    assert result["status"] == 0
    assert machine.call(Agent.hello)


DEAF = """
class Deaf:
    def __del__(self):
        sleep(1000)
from time import sleep
channel.send("ready")
while True:
    Deaf()
"""


def test_an_agent_without_requests_ends() -> None:
    """The end of the connection ends the process also while Python swallows whatever is raised in it."""
    group = execnet.Group()
    start = f"from lab.machines.live import ssh_init; ssh_init.main({SILENCE})"
    io = execnet.gateway_io.Popen2IOMaster([sys.executable, "-c", start], group.execmodel)
    spec = execnet.XSpec("popen//id=deaf")
    spec.execmodel = "thread"
    channel = execnet.Gateway(io, spec).remote_exec(DEAF)
    assert channel.receive(5) == "ready"
    ended = os.pidfd_open(io.popen.pid)

    io.popen.stdin.close()

    _await_end(ended, 5)
    io.wait()


CONTROLLER = """
import sys
from lab.machines.live import hosts, ssh
from lab.machines.base import call
from lab.machines.node import Agent
from lab.machines.live.ssh_link import Login
machines = ssh.reach(hosts.parse(sys.argv[1]), Login(sys.argv[2])).all()
for machine in machines:
    machine.post([call(Agent.run, node=machine.call(Agent.node_home), arguments=["sleep", "1000"], timeout=1000)])
try:
    print("READY", flush=True)
    sys.stdin.read()
except KeyboardInterrupt:
    for machine in machines:
        machine.post([call(Agent.hello)])
    print("STILL THERE", flush=True)
"""


@pytest.fixture
def controller(rig: Rig) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """A process of its own that is connected to every host, each in the middle of a call."""
    made: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", CONTROLLER, rig.specs, str(rig.ssh_config)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        made.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "READY\n"
        return process

    yield start
    for process in made:
        process.kill()
        process.communicate()


def test_the_controller_is_killed(rig: Rig, controller: Callable[[], subprocess.Popen[str]]) -> None:
    """SIGKILL of the controller ends every agent and its programs, on any machine."""
    process = controller()
    assert all(host.agents() for host in rig.hosts.values())

    process.kill()

    assert [host.left() for host in rig.hosts.values()] == [{}, {}, {}]


def test_ctrl_c_leaves_the_connections(rig: Rig, controller: Callable[[], subprocess.Popen[str]]) -> None:
    """Ctrl-C, which a terminal sends to every process of a run, ends no connection: hosts can still be restored."""
    process = controller()

    os.killpg(process.pid, signal.SIGINT)

    assert process.stdout is not None
    assert process.stdout.readline() == "STILL THERE\n"


def test_a_connection_can_be_closed_while_its_end_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread reports how a connection ended while another one closes it: the report is complete."""
    monkeypatch.setattr(SshLink, "command", lambda link, login: ["cat"])  # ends like ssh, with its input
    link = SshLink(hosts.parse("hub,spoke1")[0], Login(), time.monotonic(), 5.0, execnet.Group().execmodel)
    link.kill()
    closing, end = threading.Thread(target=link.close), link._end

    def meanwhile(timeout: float) -> int | None:
        if threading.current_thread() is not closing and not closing.ident:
            closing.start()
            closing.join(0.5)
        return end(timeout)

    monkeypatch.setattr(link, "_end", meanwhile)

    assert link.last_words() == "    ssh was ended by SIGKILL"
    closing.join()
    assert link.last_words() == "    ssh was ended by SIGKILL"


def _await_end(descriptor: int, deadline: float) -> None:
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    ended = poller.poll(deadline * 1000)
    os.close(descriptor)
    assert ended, f"the agent still runs after {deadline:g} s"

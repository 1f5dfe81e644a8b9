"""
Live hosts: one machine each, over OpenSSH, all connected at once and under one deadline.

    specs = hosts.parse("opc@hub.example,opc@spoke1.example")
    connected = reach(specs, Login(sudo=True))      those that could be reached, and why the others could not
    machines = connected.all()                      all of them, or one error that names every host that failed

An agent works in the host's own network stack (its `node_home`).  It ends with its connection, whatever ends that, and
leaves neither file nor process.
"""

from __future__ import annotations

import getpass
import os
import platform
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import execnet

from lab.errors import EnvironmentProblem, MachineLost, UsageProblem
from lab.machines.base import Agent, AgentBug, Machine, call
from lab.machines.live import agent_archive
from lab.machines.live.hosts import EXAMPLE, HostSpec
from lab.machines.live.ssh_link import BEATS, Login, SshLink, Unusable
from lab.machines.live.ssh_messages import TURNED_AWAY

TIMEOUT = 15.0
"""Seconds from the first connection's start within which every host has to have its agent."""
PER_HOST = 1.0
"""The same for many hosts: at least so many seconds for each, as this machine encrypts for all of them."""

PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds that a login that was turned away waits for another to succeed while none is in progress; then it fails."""

ENDING = 3.0
"""Seconds that another run on the same hosts, which may be ending, is waited for."""

AS_SSH_DOES = Login()
"""With ssh's own configuration and keys, and as the user that it logs in as."""
NO_FILE = "none"
"""The value of ssh's -F for no file (ssh(1))."""


@dataclass(frozen=True)
class Connected:
    """The hosts that have an agent, by role (`hub`, `spoke1`, ...), and what kept the others from it."""

    machines: Mapping[str, Machine]
    failures: Sequence[EnvironmentProblem]

    def all(self) -> list[Machine]:
        """Every machine, the hub first; if any host failed, closes the others and raises one error naming them."""
        if not self.failures:
            return list(self.machines.values())
        self.close()
        if len(self.failures) == 1:
            raise self.failures[0]
        texts = [str(failure).replace("\n", "\n  ") for failure in self.failures]
        raise EnvironmentProblem(
            f"{len(texts)} of {len(texts) + len(self.machines)} hosts cannot be used\n  " + "\n  ".join(texts)
        )

    def close(self) -> None:
        """Ends every agent, all at the same time."""
        close(list(self.machines.values()))


def claim(connected: Connected) -> None:
    """
    Takes the hosts for this run, until their agents end.

    EnvironmentProblem names every host that another run holds, and that run: two at once would disturb each other.
    """
    # of two runs that begin at the same time, one is first at the first machine, whatever the machines are called
    first, *rest = sorted(connected.machines.values(), key=lambda machine: str(machine.facts["stack"]))
    wanted = call(Agent.claim, holder=_holder(), timeout=ENDING)
    taken = [(first, first.batch([wanted])[0])]
    if not taken[0][1]:
        requests = [(machine, machine.post([wanted])) for machine in rest]
        taken += [(machine, machine.answer(request)[0]) for machine, request in requests]
    held = [f"{machine.name} is in use by the run of {holder}" for machine, holder in taken if holder]
    if held:
        raise EnvironmentProblem(
            "--hosts: " + "\n  ".join(held), remedy="wait until that run has ended, or end its process"
        )


def _holder() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user that the machine has no name for
        user = f"user {os.getuid()}"
    return f"{user}@{platform.node()}, process {os.getpid()}, since {time.strftime('%H:%M:%S %Z')}"


def close(machines: Sequence[Machine]) -> None:
    """Ends the agents of several machines at the same time."""
    with ThreadPoolExecutor(max(1, len(machines))) as pool:
        list(pool.map(Machine.close, machines))


def reach(
    specs: Sequence[HostSpec],
    login: Login = AS_SSH_DOES,
    *,
    timeout: float | None = None,
    group: execnet.Group | None = None,
) -> Connected:
    """
    Connects to the hosts in parallel and returns which are connected and why the others are not.

    `timeout` is in seconds and for all of them together, by default TIMEOUT, or PER_HOST for each if that is more; a
    host's own `timeout=` counts from the same start.
    A specification's own `ssh_config=`, `ssh_identity_file=` and `sudo=` go before those of `login`.
    Raises UsageProblem when two specifications lead to one machine, or an option names a file that is not there,
    EnvironmentProblem when there is no ssh here.
    """
    for option, path in (("--ssh-config", login.ssh_config), ("--ssh-identity-file", login.identity_file)):
        if path and path != NO_FILE and not Path(path).expanduser().exists():
            raise UsageProblem(f"{option}={path}: there is no such file")
    group = group or execnet.Group()
    started = time.monotonic()
    together = timeout or max(TIMEOUT, PER_HOST * len(specs))
    logins: list[_LoggingIn] = []
    places, trying = threading.Semaphore(0), set[str]()
    try:
        for spec in specs:
            first = SshLink(spec, login, started, spec.timeout or together, group.execmodel)
            logins.append(_LoggingIn(first, login, group, places, trying))
        agent_archive.packed(compiled=True)  # while ssh shakes hands
        with ThreadPoolExecutor(max(1, len(logins))) as pool:
            attempts = list(pool.map(_LoggingIn.machine, logins))
    except BaseException:
        for one in logins:
            one.end()
        raise
    reached = [(one.link, made) for one, made in zip(logins, attempts) if isinstance(made, Machine)]
    connected = Connected(
        {link.spec.role: made for link, made in reached},
        [made for made in attempts if not isinstance(made, Machine)],
    )
    try:
        _refuse_one_machine_twice([link for link, _ in reached])
    except UsageProblem:
        connected.close()
        raise
    return connected


class _LoggingIn:
    """
    One host's way to its agent.

    Sshd turns some of many logins at once away (MaxStartups), a jump host's too: one that was is tried again when
    another one has succeeded and so has left its place, which `places` counts.  `trying` has the roles of the logins
    in progress.
    """

    def __init__(
        self, link: SshLink, login: Login, group: execnet.Group, places: threading.Semaphore, trying: set[str]
    ) -> None:
        self.link = link
        self._login, self._group, self._places, self._trying = login, group, places, trying

    def machine(self) -> Machine | EnvironmentProblem:
        pauses = list(PAUSES)
        while True:
            made = self._attempt()
            if isinstance(made, Machine):
                self._places.release()
            if not (isinstance(made, Unusable) and made.code == TURNED_AWAY):
                return made
            if not self._places.acquire(timeout=pauses[0]) and not self._trying:
                pauses.pop(0)
            if self.link.expired() or not pauses:
                return made
            self.link = self.link.again(self._login)

    def _attempt(self) -> Machine | EnvironmentProblem:
        self._trying.add(self.link.spec.role)
        try:
            self.link.log_in()
            self.link.send(agent_archive.packed(compiled=self.link.bytecode == agent_archive.BYTECODE))
            return _machine(self.link, self._group)
        except (Unusable, MachineLost, AgentBug) as problem:
            late = self.link.expired() and self.link.logged_in
            self.end()
            return self.link.late() if late else problem
        finally:
            self._trying.discard(self.link.spec.role)

    def end(self) -> None:
        self.link.kill()
        self.link.close()


def _machine(link: SshLink, group: execnet.Group) -> Machine:
    spec = execnet.XSpec(f"ssh={link.spec.destination}//id={link.spec.role}-{os.getpid()}-{id(link):x}")
    spec.execmodel = group.remote_execmodel.backend
    # execnet's own ssh gateway has no deadline, drops ssh's messages, and quotes nothing: so its parts are put together
    link.take_over()
    gateway = execnet.Gateway(link, spec)
    group._register(gateway)
    stopped = threading.Event()

    def end() -> None:
        stopped.set()
        link.close()

    def obituary(why: str) -> MachineLost:
        said = link.last_words()
        return MachineLost(f"{link.spec.label} was lost: {why}" + (f"\nits last output:\n{said}" if said else ""))

    try:
        machine = Machine("ssh", link.spec.label, gateway, [], on_close=end, obituary=obituary)
        link.established()
    except BaseException:
        end()
        gateway.exit()
        raise
    machine.facts["stack"] = link.stack
    beat = link.silence / BEATS
    threading.Thread(
        target=_speak, args=(gateway, beat, stopped), name=f"pulse of {link.spec.role}", daemon=True
    ).start()
    return machine


def _speak(gateway: Any, beat: float, stopped: threading.Event) -> None:
    """Requests a sign of life every `beat` seconds: each side takes a long silence for the other's end."""
    while not stopped.wait(beat):
        try:
            gateway.remote_status()
        except (OSError, EOFError):
            return


def _refuse_one_machine_twice(links: Sequence[SshLink]) -> None:
    seen: dict[str, SshLink] = {}
    for link in links:
        other = seen.setdefault(link.stack, link)
        if other is not link:
            raise UsageProblem(
                f"--hosts: expected every host once; found that {other.spec.destination} and {link.spec.destination} "
                f"are the same machine\n  example: {EXAMPLE}"
            )

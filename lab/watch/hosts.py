"""The connections of a watch: hosts that are lost are connected again when they can be, and delay no others."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping, Sequence

import execnet

from lab.errors import OvercastError
from lab.machines.base import Machine
from lab.machines.live import ssh
from lab.machines.live.hosts import HostSpec
from lab.machines.live.ssh_link import Login
from lab.machines.node import Observed

FIRST_AGAIN, AGAIN = 1.0, 5.0
"""Seconds from the loss of a host to the first attempt, and from each attempt to the next."""
ATTEMPT = 10.0
"""Seconds that an attempt may take, unless the host has a `timeout=`; the end of the watch waits for it."""


class Hosts:
    """The hosts by role, a star's hub first; `nodes` are those that are connected."""

    def __init__(self, specs: Sequence[HostSpec], machines: Mapping[str, Machine], login: Login) -> None:
        self.specs = {spec.role: spec for spec in specs}
        self.nodes = {role: Observed.home(role, machine) for role, machine in machines.items()}
        self._login, self._group = login, execnet.Group()
        self._returned: queue.SimpleQueue[tuple[str, Observed]] = queue.SimpleQueue()
        self._ended = threading.Event()
        for role in self.gone:
            self._connect_again(role)

    @property
    def gone(self) -> list[str]:
        """The roles of those that are not connected."""
        return [role for role in self.specs if role not in self.nodes]

    def lose(self, role: str) -> None:
        """A host does not answer: its connection is ended, and made again when that can be done."""
        machine = self.nodes.pop(role).machine
        # its end may take seconds, in which the other hosts are watched
        threading.Thread(target=machine.close, name=f"end of {role}", daemon=True).start()
        self._connect_again(role)

    def back(self) -> Iterator[str]:
        """The roles of hosts that have been connected again since this was last asked."""
        while not self._returned.empty():
            role, node = self._returned.get()
            found = {**self.nodes, role: node}
            self.nodes = {role: found[role] for role in self.specs if role in found}
            yield role

    def close(self) -> None:
        """Ends every agent, all at the same time, and the attempts to connect."""
        self._ended.set()
        list(self.back())
        ssh.close([node.machine for node in self.nodes.values()])

    def _connect_again(self, role: str) -> None:
        threading.Thread(target=self._attempts, args=(role,), name=f"way to {role}", daemon=True).start()

    def _attempts(self, role: str) -> None:
        spec, pause = self.specs[role], FIRST_AGAIN
        while not self._ended.wait(pause):
            pause = AGAIN
            try:
                connected = ssh.reach([spec], self._login, timeout=ATTEMPT, group=self._group)
                nodes = [Observed.home(role, machine) for machine in connected.machines.values()]
            except OvercastError:
                continue
            for node in nodes:
                if self._ended.is_set():
                    node.machine.close()
                else:
                    self._returned.put((role, node))
                return

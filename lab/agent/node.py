"""A node as its agent holds it: a network stack, and what is kept open in it."""

from __future__ import annotations

import signal
import socket
from typing import Any, Callable

from lab.agent import namespaces
from lab.agent.capture.taps import ROOM_IN_A_LAB, ROOM_ON_A_HOST, SLOTS_IN_A_LAB, SLOTS_ON_A_HOST, Tap
from lab.agent.changes import undoing
from lab.agent.execution.background_programs import BackgroundProgram
from lab.agent.firewall.rulesets import Rulesets
from lab.agent.rtnl import NUD_NOARP, NUD_PERMANENT, Transport
from lab.agent.stack import procfs


class AgentNode:
    """A stack with what this agent keeps open in it."""

    def __init__(self, stack: namespaces.Stack, *, read_only: bool = False, is_busy: bool = False) -> None:
        self.stack = stack
        self.read_only = read_only
        self._is_busy = is_busy
        """Whether its capture has a ring of its own (`ring`)."""
        self._links: Any | None = None
        self._transport: Transport | None = None
        self._tap: Tap | None = None
        self._injector: socket.socket | None = None
        self.rulesets = Rulesets()
        self.sysctls = procfs.SysctlFiles()
        self.programs: list[BackgroundProgram] = []
        self.log: undoing.Log | None = None
        """Set: every change is undone when the agent ends, or before that on request."""
        self.refused_before: int | None = None
        """How many neighbours the kernel had rejected when the agent began to count (`neighbour_table`)."""

    def transport(self) -> Transport:
        if self._transport is None:
            with self.stack.entered():
                self._transport = Transport()
        return self._transport

    def links(self, namespace_of: Callable[[int], int]) -> Any:
        if self._links is None:
            # pyroute2 takes most of a second to import on a slow machine: only who needs it waits for it
            from lab.agent.changes.links import Links

            self._links = Links(self.transport(), namespace_of)
        return self._links

    def tap(self) -> Tap:
        if self._tap is None:
            with self.stack.entered():
                room, slots = (ROOM_ON_A_HOST, SLOTS_ON_A_HOST) if self.read_only else (ROOM_IN_A_LAB, SLOTS_IN_A_LAB)
                self._tap = Tap(room, slots if self._is_busy else 0)
        return self._tap

    def untap(self) -> None:
        """Ends the capture: what is watched for days is captured only while something is wrong."""
        if self._tap is not None:
            self._tap.retire()
            self._tap.socket.close()
            self._tap = None

    def renaming(self) -> None:
        """What is done to the node now may give a device another name."""
        if self._tap is not None:
            self._tap.renamed()

    def injector(self) -> socket.socket:
        """A packet socket that only sends: one for the node, since closing one waits for every CPU."""
        if self._injector is None:
            with self.stack.entered():
                self._injector = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        return self._injector

    def forget_neighbours(self) -> None:
        """Neighbours that the node has resolved, or failed to, are resolved again when it next sends to them."""
        for family in (socket.AF_INET, socket.AF_INET6):
            self.transport().forget_neighbours(family, but=NUD_NOARP | NUD_PERMANENT)

    def retire(self) -> None:
        """The node is not used any more: its programs end; it releases its resources of the whole kernel."""
        for program in self.programs:
            program.stop(signal.SIGKILL)
        self.transport().forget_neighbours()  # those of IPv4 count in one table for the whole kernel
        self.sysctls.close()
        if self._tap is not None:
            self._tap.retire()

    def close(self) -> None:
        """Closes what is open in the stack, and the stack with it."""
        if self._transport is not None:
            self._transport.close()
        if self._tap is not None:
            self._tap.socket.close()
        if self._injector is not None:
            self._injector.close()
        self.stack.close()

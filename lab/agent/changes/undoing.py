"""
Changes of a stack that are undone whatever ends the agent: a request, its connection, a signal, SIGKILL.

    log = Log(stack, transport, links)      starts the restorer, a process of its own (`restoring`)
    log.apply(changes)                      the way back of each change is with the restorer before it is made
    log.undo()                              the last change first; returns what could not be undone

A change that has no way back is refused, and so is one of a link that was there before.  Where a name, an address or a
route is taken, the kernel refuses (EEXIST), and the way back of a refused change is forgotten.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, Callable

from lab.agent import modules, prerequisites
from lab.agent.namespaces import Stack
from lab.agent.rtnl import GETROUTE, NEWROUTE, Transport, attribute, attributes
from lab.agent.stack import procfs

RTA_DST, RTA_OIF, RTA_TABLE, RTA_CACHEINFO = 1, 4, 15, 12
MAIN_TABLE = 254
RTNH_F_ONLINK = 4
ROUTE_HEADER = 12  # struct rtmsg

READY = 20.0  # seconds for a Python to start and to import what it will need; half a second in practice
DONE = 20.0  # seconds for a dozen netlink requests, and modules to unload
MEMORY_FILE = "/proc/self/fd/"

START = (
    "import json,sys;"
    "sys.path[:]=json.loads(sys.argv[1]);"
    "from lab.agent.changes import restoring as overcast_restorer;"
    "overcast_restorer.main()"
)


class Log:
    """The way back of every change of one stack."""

    def __init__(self, stack: Stack, transport: Transport, links: Any) -> None:
        self._stack, self._transport, self._links = stack, transport, links
        self._steps: list[dict[str, Any]] = []
        self._made: set[str] = set()
        self._inverses: dict[str, Callable[..., Iterator[dict[str, Any]]]] = {
            "link_add": self._of_link_add,
            "link_set": self._of_own,
            "bridge_port": self._of_own,
            "fdb_append": self._of_own,
            "addr_add": self._of_addr_add,
            "route_add": self._of_route_add,
            "route_del": self._of_route_del,
        }
        self._start()

    # changes

    def apply(self, changes: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """Makes the changes one after another (`links.Links`); the first refusal is raised as OSError."""
        for verb, fields in changes:
            if verb not in self._inverses:
                raise OSError(errno.EOPNOTSUPP, f"{verb} {fields}: a change with no way back is not made")
            with self._noted(*self._inverses[verb](**fields)):
                self._links.apply([(verb, fields)])
            if verb == "link_add":
                self._made.add(fields["device"])

    def write_sysctls(self, values: dict[str, str]) -> dict[str, str]:
        """Sets parameters; returns what they were."""
        before = {}
        with self._stack.entered():
            for name, value in values.items():
                old = procfs.read_sysctl(name)
                with self._noted(_step("sysctl", f"sysctl -w {name}='{old}'", name=name, value=old)):
                    before[name] = procfs.write_sysctl(name, value)
        return before

    def undo(self) -> list[dict[str, str]]:
        """Undoes everything; returns each step that failed as `command` and `error`."""
        os.close(self._orders)
        failures, done = self._outcome()
        if not done:  # the restorer itself was killed: the steps are known here too, and undoing twice is no harm
            self._start()
            self._send([{"undo": step} for step in self._steps])
            os.close(self._orders)
            failures, done = self._outcome()
        if not done:
            failures = [
                {"command": step["command"], "error": "the restorer was killed"} for step in reversed(self._steps)
            ]
        return failures

    # the way back of each change

    def _of_link_add(self, device: str, kind: str, **_: Any) -> Iterator[dict[str, Any]]:
        # what the kernel loads by itself for a kind's first link may bring devices along (gre0, gretap0, erspan0)
        there, wanted = modules.loaded(), modules.needed(f"rtnl-link-{kind}", prerequisites.modules_directory())
        absent = [name for name in wanted if name not in there]
        if absent:
            yield _step("unload", f"modprobe -r {absent[0]}", names=absent)
        yield _step("take_away", f"ip link del {device}", verb="link_del", fields={"device": device})

    def _of_own(self, device: str, **_: Any) -> Iterator[dict[str, Any]]:
        """
        A link made here goes as a whole, with its place in a bridge and its table.  One that was there before stays as
        it is: down and up again, for example, it has lost its routes.
        """
        if device not in self._made:
            raise OSError(errno.EEXIST, f"device {device} existed before the run, so it is not changed")
        yield from ()

    def _of_addr_add(self, device: str, address: str) -> Iterator[dict[str, Any]]:
        fields = {"device": device, "address": address}
        yield _step("take_away", f"ip addr del {address} dev {device}", verb="addr_del", fields=fields)

    def _of_route_add(
        self, to: str, device: str | None = None, via: str | None = None, **_: Any
    ) -> Iterator[dict[str, Any]]:
        words = f"ip route del {to}" + (f" via {via}" if via else "") + (f" dev {device}" if device else "")
        fields = {"to": to, "device": device, "via": via}
        yield _step("take_away", words, verb="route_del", fields=fields)

    def _of_route_del(self, to: str, device: str, **_: Any) -> Iterator[dict[str, Any]]:
        """The route with all its properties in the kernel: metric, protocol, source, ..."""
        address, _slash, length = to.partition("/")
        wanted = (int(length), socket.inet_aton(address), self._transport.index(device))
        every = self._transport.raw_dump(GETROUTE, struct.pack("=BBBBBBBBI", socket.AF_INET, *[0] * 8))
        found = [body for body in every if _route_key(body) == wanted]
        if len(found) != 1:
            raise OSError(
                errno.EOPNOTSUPP, f"ip route del {to} dev {device}: {len(found)} such routes, expected exactly one"
            )
        words = f"ip route add {to} dev {device}"
        yield _step("again", words, kind=NEWROUTE, body=_request(found[0]).hex(), what=words)

    # the restorer

    def _start(self) -> None:
        paths = [path for path in sys.path if path]
        # what this agent was imported from may be in memory only (`machines.ssh_init`)
        carried = [int(path[len(MEMORY_FILE) :]) for path in paths if path.startswith(MEMORY_FILE)]
        incoming, self._orders = os.pipe()
        self._reports, outgoing = os.pipe()
        self._read = b""
        try:
            with self._stack.entered():
                subprocess.run(
                    [sys.executable, "-BEsSc", START, json.dumps(paths), str(incoming), str(outgoing)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=[incoming, outgoing, *carried],
                    cwd="/",
                    check=True,
                    timeout=READY,
                )
        finally:
            os.close(incoming)
            os.close(outgoing)
        report = self._report(time.monotonic() + READY) or {"unable": "the process that undoes changes did not start"}
        if "unable" in report:
            os.close(self._orders)
            os.close(self._reports)
            raise OSError(errno.ECHILD, report["unable"])

    @contextlib.contextmanager
    def _noted(self, *steps: dict[str, Any]) -> Iterator[None]:
        """The restorer has the undo of the block's changes; an error in the block changed nothing."""
        known = len(self._steps)
        self._send([{"undo": step} for step in steps])
        self._steps += steps
        try:
            yield
        except OSError:
            self._send([{"forget": True}] * len(steps))
            del self._steps[known:]
            raise

    def _send(self, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            data = json.dumps(message).encode() + b"\n"
            # at most PIPE_BUF octets are written as a whole or not at all (pipe(7))
            if len(data) > select.PIPE_BUF:
                raise OSError(errno.EMSGSIZE, f"the way back of a change is too long: {message}")
            os.write(self._orders, data)

    def _outcome(self) -> tuple[list[dict[str, str]], bool]:
        failures = []
        deadline = time.monotonic() + DONE
        while (report := self._report(deadline)) is not None:
            if report == {"done": True}:
                break
            failures.append(report)
        os.close(self._reports)
        return failures, report is not None

    def _report(self, deadline: float) -> Any:
        """The restorer's next message; None when it has ended or sends nothing until the deadline."""
        waiting = select.poll()
        waiting.register(self._reports, select.POLLIN)
        while b"\n" not in self._read:
            if not waiting.poll(max(0.0, deadline - time.monotonic()) * 1000):
                return None
            more = os.read(self._reports, 4096)
            if not more:
                return None
            self._read += more
        line, _, self._read = self._read.partition(b"\n")
        return json.loads(line)


def _step(how: str, command: str, /, **fields: Any) -> dict[str, Any]:
    """How the restorer undoes a change (a method of its), and the command that does the same."""
    return {"verb": how, "fields": fields, "command": command}


def _route_key(body: bytes) -> tuple[int, bytes, int] | None:
    """Prefix length, destination and device of a route of the main table."""
    found = dict(attributes(body, ROUTE_HEADER))
    table = struct.unpack("=I", found[RTA_TABLE])[0] if RTA_TABLE in found else body[4]
    if table != MAIN_TABLE or RTA_OIF not in found:
        return None
    return body[1], found.get(RTA_DST, bytes(4)), struct.unpack("=I", found[RTA_OIF])[0]


def _request(body: bytes) -> bytes:
    """The route as a request: without its use counters, and without what the kernel noted in its flags."""
    (flags,) = struct.unpack_from("=I", body, 8)
    kept = bytearray(body[:8] + struct.pack("=I", flags & RTNH_F_ONLINK))
    for kind, value in attributes(body, ROUTE_HEADER):
        if kind != RTA_CACHEINFO:
            kept += attribute(kind, value)
    return bytes(kept)

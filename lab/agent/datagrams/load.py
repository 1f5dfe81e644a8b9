"""
A load, as fast as a kernel takes it: a process of its own sends, one for each receiver counts what arrives.

    the agent --- a line of JSON for each order ---> a Python of its own with a socket of the node's
              <-- a line of JSON for each answer --

Datagrams are written and read many in one system call, and what is in them is moved in whole columns: one by one,
Python would be what is measured.  A payload begins with two words: its number, in the upper half the tag of the trial,
and when it was handed to the kernel, in ns since the epoch.

Sources: sendmmsg(2), recvmmsg(2), socket(7), linux/sock_diag.h (SK_MEMINFO_DROPS), proc(5) (schedstat).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from array import array
from collections.abc import Sequence
from typing import Any

from lab.agent.datagrams.message_batches import AT_ONCE, LIBC, SO_TIMESTAMPNS, BatchBuffers, called

LARGEST = 9216  # octets of a payload that a receiver has room for
CONTROL = 64  # octets of ancillary data, of which the kernel's time is the first
TIME = 16  # where that is in it: after struct cmsghdr
SO_MEMINFO = 55
DROPS = 8  # in what SO_MEMINFO returns: SK_MEMINFO_DROPS
BURST = 0.001  # seconds of its rate that a sender sends in one go, once it is late
FIRST = -20  # the nice value of a process that runs before others
GATHER = 0.001  # seconds
ROOM_TO_GATHER = 2 << 20  # octets of a receive buffer, as the kernel counts them, that hold what arrives meanwhile
QUIET = 0.25  # seconds without an arrival after which nothing more is on its way


def _waited() -> tuple[float, float]:
    """Seconds that this process ran, and that it waited for a processor."""
    with open("/proc/self/schedstat") as counters:
        ran, waited, _ = counters.read().split()
    return int(ran) / 1e9, int(waited) / 1e9


def _busy() -> float:
    """Seconds that the processors of this machine have worked, for whatever: user, nice, system, irq, softirq."""
    with open("/proc/stat") as counters:
        user, nice, system, _, _, irq, softirq = map(int, counters.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def send(
    opened: socket.socket, *, to: Sequence[Any], tag: int, rate: float, count: int, size: int, seconds: float
) -> dict[str, Any]:
    """
    Sends `count` datagrams of `size` octets, `rate` in a second (0: as fast as it goes), for `seconds` at most.

    Returns how many it `sent`, `seconds` that it took, and how many seconds of it it `ran` and `waited` to run.
    """
    address = struct.pack("=H", socket.AF_INET) + struct.pack("!H", to[1]) + socket.inet_aton(to[0]) + bytes(8)
    room = BatchBuffers(size, to=address)
    columns = memoryview(room.payloads).cast("Q")
    numbers, times = columns[:: size // 8], columns[1 :: size // 8]
    base, most = tag << 32, AT_ONCE if not rate else max(1, min(AT_ONCE, int(rate * BURST)))
    ran, waited = _waited()
    began = time.monotonic()
    sent = 0
    while sent < count:
        now = time.monotonic() - began
        if now > seconds:
            break
        due = min(count, int(now * rate) + 1) - sent if rate else count - sent
        if due <= 0:
            select.select([], [], [], (sent / rate) - now)
            continue
        size_of_batch = min(due, most)
        numbers[:size_of_batch] = array("Q", range(base + sent, base + sent + size_of_batch))
        times[:size_of_batch] = array("Q", [time.time_ns()]) * size_of_batch
        taken = called(LIBC.sendmmsg(opened.fileno(), room.headers, size_of_batch, 0))
        sent += taken
        if not taken:  # its own queue is full
            select.select([], [opened], [], BURST)
    took = time.monotonic() - began
    ran_now, waited_now = _waited()
    return {"sent": sent, "seconds": took, "ran": ran_now - ran, "waited": waited_now - waited}


class Receiver:
    """What has arrived at one socket since that was last asked."""

    def __init__(self, opened: socket.socket) -> None:
        self._socket, self._room = opened, BatchBuffers(LARGEST, CONTROL)
        self._payloads, self._ancillary = (
            memoryview(one).cast("Q") for one in (self._room.payloads, self._room.ancillary)
        )
        opened.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.gathers = opened.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= ROOM_TO_GATHER
        """Whether it lets datagrams gather: one that wakes it costs the sender too, where both share a machine."""
        self._forget()

    def _forget(self) -> None:
        self._numbers, self._sent, self._seconds, self._parts = array("Q"), array("Q"), array("Q"), array("Q")
        self._dropped_before, self._began = self._dropped(), (*_waited(), _busy())

    def _dropped(self) -> int:
        """Datagrams that the socket had no room for, so far."""
        counted = self._socket.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 4 * (DROPS + 1))
        return int(struct.unpack(f"={DROPS + 1}I", counted)[DROPS])

    def take_in(self) -> None:
        """Reads what is there; a full room means that there may be more."""
        words, beside, at = LARGEST // 8, self._room.stride // 8, TIME // 8
        count = AT_ONCE
        while count == AT_ONCE:
            waiting = LIBC.recvmmsg(self._socket.fileno(), self._room.headers, AT_ONCE, socket.MSG_DONTWAIT, None)
            count = called(waiting)
            if not count:
                return
            self._numbers.extend(self._payloads[: count * words : words])
            self._sent.extend(self._payloads[1 : count * words : words])
            self._seconds.extend(self._ancillary[at : count * beside : beside])
            self._parts.extend(self._ancillary[at + 1 : count * beside : beside])
            self._room.reset(count)

    def report(self, tag: int, every: int) -> dict[str, Any]:
        """
        Of the datagrams with this tag: how many different ones were `received`, how many were `repeated`, how many the
        socket had no room for (`dropped`), `ran` and `waited` in seconds, and how many of them the machine's processors
        were `busy`.  `latencies`: of each number that `every` divides (0: of none), that number and its ns from the
        sender's call to this host's kernel.
        """
        mine = [position for position, number in enumerate(self._numbers) if number >> 32 == tag]
        different = len({self._numbers[position] for position in mine})
        (ran, waited), (ran_before, waited_before, busy_before) = _waited(), self._began
        found: dict[str, Any] = {
            "received": different,
            "repeated": len(mine) - different,
            "dropped": self._dropped() - self._dropped_before,
            "ran": ran - ran_before,
            "waited": waited - waited_before,
            "busy": _busy() - busy_before,
        }
        found["latencies"] = [
            (self._numbers[at] & 0xFFFFFFFF, self._seconds[at] * 10**9 + self._parts[at] - self._sent[at])
            for at in mine
            if every and not (self._numbers[at] & 0xFFFFFFFF) % every
        ]
        self._forget()
        return found

    def await_last(self, last: int) -> None:
        """Returns when that number has arrived, or nothing more arrives."""
        polled = select.poll()
        polled.register(self._socket, select.POLLIN)
        while not (self._numbers and self._numbers[-1] >= last):
            if not polled.poll(QUIET * 1000):
                return
            self.take_in()


def _obeyed(order: dict[str, Any], opened: socket.socket, receiver: Receiver | None) -> dict[str, Any]:
    try:
        if receiver is None:
            return send(opened, **order)
        if order["sent"]:
            receiver.await_last((order["tag"] << 32) + order["sent"] - 1)
        receiver.take_in()
        return receiver.report(order["tag"], order["every"])
    except OSError as error:
        return {"errno": error.errno}


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _take_processors(chosen: Sequence[int]) -> None:
    """
    Runs on these processors, before other programs; with none on any, as other programs do.

    The kernel shares processors among sessions first (sched(7), autogroup).  What is not permitted is left.
    """
    with contextlib.suppress(OSError):  # the agent keeps to one processor
        os.sched_setaffinity(0, chosen or range(os.cpu_count() or 1))
    if not chosen:
        return
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, FIRST)
        os.setsid()
        with open("/proc/self/autogroup", "w") as group:
            group.write(str(FIRST))


def main() -> None:
    """
    Answers orders on standard input until that ends.

    The arguments: a socket's descriptor, the work, where this package is, the processors to take (none: no own ones).
    """
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it ends with the agent
    _take_processors([int(number) for number in sys.argv[4].split(",") if number])
    opened = socket.socket(fileno=int(sys.argv[1]))
    work = sys.argv[2]
    receiver = None if work == "send" else Receiver(opened)
    polled = select.poll()
    for descriptor in (0, *([opened.fileno()] if work == "receive" else [])):
        polled.register(descriptor, select.POLLIN)
    _say({})  # it is ready
    while True:
        for descriptor, _ in polled.poll():
            if receiver is not None and descriptor == opened.fileno():
                receiver.take_in()
                if receiver.gathers:
                    select.select([0], [], [], GATHER)
                continue
            line = sys.stdin.readline()
            if not line:
                return
            _say(_obeyed(json.loads(line), opened, receiver))

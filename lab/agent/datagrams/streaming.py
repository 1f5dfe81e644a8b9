"""
A numbered stream of datagrams: sent at an even rate and received by a thread of its own, beside whatever else is done.

What an outage costs shows only in a stream that goes on while a hub is lost and comes back; the agent makes these
changes meanwhile.  A datagram is a tag, the number of its target and its own number: all targets get every number.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import threading
import time
from array import array
from collections.abc import Sequence
from typing import Any

from lab.agent.datagrams.message_batches import AT_ONCE, SO_TIMESTAMPNS, BatchBuffers, nanoseconds
from lab.agent.datagrams.sockets import make_room

NUMBER = struct.Struct("!HI")  # target, number
MOST_BEHIND = 0.1  # seconds that are caught up with; of a longer stop of the sender nothing is made up for
LARGEST_POLL = 0.1  # seconds; a request ends a poll at once
LATE, LATEST = 0.02, 30.0  # seconds without a further datagram that end a stream; at most after the request to end
ROOM = 1 << 22  # octets: what arrives in a second at a receiver of a thousand numbers a second
MOST_BATCHES = 32  # of a receiver, before others are read and more is sent: where frames circle there is no end of them
SO_MEMINFO, MEMORY = 55, struct.Struct("9I")  # linux/sock_diag.h; the last one counts what was dropped
MOST_REPEATED = 1000  # at a receiver; more are frames that circle, of which there is no end


class StreamRecord:
    """What one receiver got, in order of arrival; `highest` is the last number that it heard of each target."""

    def __init__(self) -> None:
        self.targets, self.numbers, self.times = array("H"), array("I"), array("Q")
        self.highest: dict[int, int] = {}
        self.repeated = 0


class StreamEngine:
    """One stream; its sockets are the caller's, who closes them after `stop`.  Without a sender it receives only."""

    def __init__(
        self,
        sender: socket.socket | None,
        targets: Sequence[tuple[str, int]],
        receivers: Sequence[socket.socket],
        tag: bytes,
        rate: float,
        size: int,
        ends_in_loop: bool = False,
    ) -> None:
        self._sender, self._targets, self._tag, self._period, self._size = sender, targets, tag, 1 / rate, size
        self._receivers = {opened.fileno(): (opened, StreamRecord()) for opened in receivers}
        self._dropped = [_dropped(opened) for opened in receivers]
        for opened in receivers:
            make_room(opened, ROOM)
        self._sent = array("Q")
        self._progress = threading.Condition()
        self._sending, self._running = sender is not None, True
        self._wakened, self._waking = os.pipe()
        self._failure: BaseException | None = None
        self._ends_in_loop = ends_in_loop
        self.looped = False
        """Frames circled, which ended it."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def await_sent(self, count: int, timeout: float) -> int:
        """Waits until `count` numbers have been sent; returns how many have, after `timeout` seconds at most."""
        with self._progress:
            self._progress.wait_for(lambda: len(self._sent) >= count or self._ended, timeout)
        return len(self._sent)

    def await_heard(self, number: int, wanted: Sequence[Sequence[int]], timeout: float) -> bool:
        """Waits until every receiver has heard of each of its targets (`wanted`) that number or a later one."""
        heard = [each for _, each in self._receivers.values()]

        def done() -> bool:
            return self._ended or all(
                each.highest.get(target, -1) >= number for each, own in zip(heard, wanted) for target in own
            )

        with self._progress:
            return self._progress.wait_for(done, timeout) and not self._ended

    @property
    def _ended(self) -> bool:
        return self._failure is not None or self.looped

    def stop_sending(self) -> None:
        self._sending = False

    def stop(self) -> dict[str, Any]:
        """
        Ends it; returns when each number was sent, and of each receiver targets, numbers and times (ns), packed.

        `dropped`: how many datagrams each receiver's socket had no room for.
        """
        self._running = False
        os.write(self._waking, b"!")
        self._thread.join()
        os.close(self._wakened)
        os.close(self._waking)
        if self._failure is not None:
            raise self._failure
        received = [
            (heard.targets.tobytes(), heard.numbers.tobytes(), heard.times.tobytes())
            for _, heard in self._receivers.values()
        ]
        dropped = [_dropped(opened) - before for (opened, _), before in zip(self._receivers.values(), self._dropped)]
        return {"sent": self._sent.tobytes(), "received": received, "dropped": dropped}

    # the thread

    def _run(self) -> None:
        try:
            self._go_on()
        except BaseException as error:  # `stop` raises it in the caller
            self._failure = error
        finally:
            with self._progress:
                self._progress.notify_all()

    def _go_on(self) -> None:
        room, polled = BatchBuffers(), select.poll()
        for descriptor in (self._wakened, *self._receivers):
            polled.register(descriptor, select.POLLIN)
        due = time.monotonic()
        while self._running:
            if self._sending:
                now = time.monotonic()
                due = max(due, now - MOST_BEHIND)
                while due <= now:
                    self._send()
                    due += self._period
                wait = max(0.0, due - time.monotonic())
            else:
                wait = LARGEST_POLL
            for descriptor, _ in polled.poll(wait * 1000):
                if descriptor in self._receivers:
                    self._receive(room, *self._receivers[descriptor])
            if self._ends_in_loop and self._is_looping():
                self.looped, self._sending = True, False
                for descriptor in self._receivers:  # there is no end of it, and others need this process
                    polled.unregister(descriptor)
                self._ends_in_loop = False
            with self._progress:
                self._progress.notify_all()
        self._receive_late(room, polled)

    def _is_looping(self) -> bool:
        return any(heard.repeated > MOST_REPEATED for _, heard in self._receivers.values())

    def _receive_late(self, room: BatchBuffers, polled: select.poll) -> None:
        """What has arrived and was not read yet: on a busy machine this thread may be seconds behind."""
        polled.unregister(self._wakened)
        until = time.monotonic() + LATEST
        while not self._is_looping() and time.monotonic() < until and (ready := polled.poll(LATE * 1000)):
            for descriptor, _ in ready:
                self._receive(room, *self._receivers[descriptor])

    def _send(self) -> None:
        assert self._sender is not None
        number = len(self._sent)
        self._sent.append(time.time_ns())
        for target, to in enumerate(self._targets):
            payload = (self._tag + NUMBER.pack(target, number)).ljust(self._size, b"~")
            with contextlib.suppress(OSError):  # it is lost: the way is gone, which is what the stream is to show
                self._sender.sendto(payload, to)

    def _receive(self, room: BatchBuffers, opened: socket.socket, heard: StreamRecord) -> None:
        for _ in range(MOST_BATCHES):
            if self._take(room, opened, heard) < AT_ONCE:
                return

    def _take(self, room: BatchBuffers, opened: socket.socket, heard: StreamRecord) -> int:
        """Reads one batch; returns how many messages it had."""
        at, found = len(self._tag), room.receive(opened)
        for message in found:
            if not message.payload.startswith(self._tag):
                continue
            target, number = NUMBER.unpack_from(message.payload, at)
            heard.targets.append(target)
            heard.numbers.append(number)
            heard.times.append(_stamp(message.ancillary))
            if number > heard.highest.get(target, -1):
                heard.highest[target] = number
            else:
                heard.repeated += 1
        return len(found)


def _dropped(opened: socket.socket) -> int:
    """How many datagrams a socket had no room for; 0 on a kernel that does not tell (before 4.12)."""
    try:
        found = opened.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, MEMORY.size)
    except OSError:
        return 0
    return int(MEMORY.unpack(found)[-1]) if len(found) == MEMORY.size else 0


def _stamp(ancillary: Sequence[tuple[int, int, bytes]]) -> int:
    """When the kernel had it, in ns since the epoch."""
    of_kernel = (socket.SOL_SOCKET, SO_TIMESTAMPNS)
    times = [nanoseconds(data) for level, kind, data in ancillary if (level, kind) == of_kernel]
    return times[0] if times else time.time_ns()

"""
The thread of a stream: it counts what has arrived before it ends, and ends by itself where frames circle.

    a socket of this machine --numbers--> receivers          no network, no lab
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from lab.agent.datagrams.message_batches import AT_ONCE, BatchBuffers
from lab.agent.datagrams.streaming import MOST_REPEATED, NUMBER, StreamEngine, StreamRecord

TAG = b"tag"
RECEIVERS, QUEUED = 6, 150
RATE, SIZE = 500.0, 100
SOON = 20.0  # seconds; in practice a few milliseconds


@pytest.fixture
def receivers() -> Iterator[list[socket.socket]]:
    """Sockets on loopback, and a further one to send from."""
    with contextlib.ExitStack() as opened:
        made = [opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(RECEIVERS + 1)]
        for each in made:
            each.bind(("127.0.0.1", 0))
            each.setblocking(False)
        yield made


def send(receivers: list[socket.socket], number: int) -> None:
    """One number of the first target to every receiver."""
    *others, sender = receivers
    for each in others:
        sender.sendto((TAG + NUMBER.pack(0, number)).ljust(SIZE, b"~"), each.getsockname())


def test_what_has_arrived_is_counted(receivers: list[socket.socket]) -> None:
    """Datagrams that wait at the sockets when a stream is ended are not taken for lost."""
    for number in range(QUEUED):
        send(receivers, number)

    stream = StreamEngine(None, [], receivers[:-1], TAG, RATE, SIZE)
    received = stream.stop()["received"]

    assert [len(numbers) // 4 for _, numbers, _ in received] == [QUEUED] * RECEIVERS


def test_more_than_one_batch_is_read_between_two_numbers(receivers: list[socket.socket]) -> None:
    """A thread that is behind reads all that has arrived before it sends more: otherwise it never catches up."""
    sent = 4 * AT_ONCE
    for number in range(sent):
        send(receivers[-2:], number)
    heard, engine = StreamRecord(), StreamEngine(None, [], [], TAG, RATE, SIZE)

    engine._receive(BatchBuffers(), receivers[-2], heard)

    engine.stop()
    assert len(heard.numbers) == sent


def test_what_a_socket_has_no_room_for_is_counted(receivers: list[socket.socket]) -> None:
    """What the kernel drops since nothing reads it is counted apart from what never arrived."""
    stream = StreamEngine(None, [], receivers[:1], TAG, RATE, SIZE)
    receivers[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    stream._running = False
    stream._thread.join(SOON)
    for number in range(QUEUED):
        send([receivers[0], receivers[-1]], number)

    (dropped,) = stream.stop()["dropped"]

    assert QUEUED // 2 < dropped < QUEUED


def test_a_loop_ends_it(receivers: list[socket.socket]) -> None:
    """Once a number has been received a thousand times more a stream that is to end in a loop does, waits included."""
    stream = StreamEngine(None, [], receivers[:-1], TAG, RATE, SIZE, ends_in_loop=True)
    for number in range(1, MOST_REPEATED + 3):
        send(receivers[-2:], number)
        send(receivers[-2:], 0)
        assert stream.await_heard(number, [[]] * (RECEIVERS - 1) + [[0]], SOON) or stream.looped

    heard = stream.await_heard(1, [[0]] * RECEIVERS, SOON)

    assert (heard, stream.looped) == (False, True)
    stream.stop()

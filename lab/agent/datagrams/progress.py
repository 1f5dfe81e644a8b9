"""
How far the agents of a run are: they ask each other on the hosts' own network, which is nearer than the controller.

    spoke1 ── "is request 7 done?" ──▶ hub      repeated until it is answered
    spoke1 ◀── "yes" ── hub                     at once, or when it is

A datagram without the run's key is dropped.  Standard library alone, Python 3.9 or newer.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Sequence

AGAIN = 0.05
"""Seconds after which a question is repeated: it, or its answer, may have been lost."""
QUESTION, ANSWER = 1, 2
MESSAGE = struct.Struct("!BHQ")  # kind, the asked agent's number at the asker, request
LARGEST = 256
Peer = tuple[int, str, int]
"""Another agent: its number at the asker, its address, the request that it is to have done."""


class Progress:
    """What this agent has done, and what it has heard of others."""

    def __init__(self, port: int) -> None:
        self._key = b""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            self._socket.bind(("", port))
        except OSError:
            self._socket.close()
            raise
        self._port = port
        self._changed = threading.Condition()
        self._done = 0
        self._asked: dict[tuple[tuple[str, int], int], int] = {}
        self._heard: dict[int, int] = {}
        threading.Thread(target=self._serve, daemon=True).start()

    def begin(self, key: bytes) -> None:
        """Only agents with this key are answered and believed from now on; what was heard before is forgotten."""
        with self._changed:
            self._key = key
            self._asked.clear()
            self._heard.clear()

    def done(self, request: int) -> None:
        """Every request up to this one is done."""
        with self._changed:
            self._done = request
            answered = [asker for asker, wanted in self._asked.items() if wanted <= request]
            for asker in answered:
                del self._asked[asker]
        for source, number in answered:
            self._send(ANSWER, number, request, source)

    def wait(self, peers: Sequence[Peer], timeout: float) -> list[int]:
        """
        Waits until other agents have done requests.

        Returns the numbers of those that have not answered so after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            with self._changed:
                missing = [peer for peer in peers if not self._has(peer)]
            if not missing or time.monotonic() >= deadline:
                return [number for number, _, _ in missing]
            for number, to, request in missing:
                self._send(QUESTION, number, request, (to, self._port))
            with self._changed:
                self._changed.wait_for(lambda: all(map(self._has, peers)), AGAIN)

    def _has(self, peer: Peer) -> bool:
        number, _, request = peer
        return self._heard.get(number, 0) >= request

    def _send(self, kind: int, number: int, request: int, to: tuple[str, int]) -> None:
        with contextlib.suppress(OSError):  # a refusal is as good as a loss: it is asked again
            self._socket.sendto(self._key + MESSAGE.pack(kind, number, request), to)

    def _serve(self) -> None:
        while True:
            try:
                data, source = self._socket.recvfrom(LARGEST)
            except OSError:  # the network's answer to what was sent
                continue
            if self._key and len(data) == len(self._key) + MESSAGE.size and data.startswith(self._key):
                kind, number, request = MESSAGE.unpack_from(data, len(self._key))
                self._take(kind, number, request, source)

    def _take(self, kind: int, number: int, request: int, source: tuple[str, int]) -> None:
        with self._changed:
            if kind == ANSWER:
                self._heard[number] = max(request, self._heard.get(number, 0))
                self._changed.notify_all()
                return
            done = self._done
            if done < request:
                self._asked[source, number] = request
                return
        self._send(ANSWER, number, done, source)

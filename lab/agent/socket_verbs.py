"""The agent's verbs for sockets in its nodes: opening them, sending, and waiting for what arrives."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import select
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lab.agent.datagrams import fences, sockets
from lab.agent.datagrams.sockets import Endpoint, Opening, SocketKind
from lab.agent.datagrams.streaming import StreamEngine
from lab.agent.datagrams.workers import LoadWorker, Work
from lab.agent.state_verbs import StateVerbs

if TYPE_CHECKING:
    from typing_extensions import Unpack  # mypy brings it


class SocketVerbs(StateVerbs):
    """Every public method is a verb; arguments and results are builtins."""

    def __init__(self) -> None:
        super().__init__()
        self._endpoints: dict[int, Endpoint] = {}
        self._streams: dict[int, StreamEngine] = {}
        self._workers: dict[int, LoadWorker] = {}
        self._next = 0

    def _handle(self) -> int:
        self._next += 1
        return self._next

    def open(self, node: int, handle: int | None = None, **fields: Unpack[Opening]) -> int:
        """Opens a socket inside a node (`sockets.open_endpoint`); returns its handle, the caller's if it has one."""
        with self._nodes[node].stack.entered():
            endpoint = sockets.open_endpoint(**fields)
        return self._keep(endpoint, handle)

    def _keep(self, endpoint: Endpoint, handle: int | None) -> int:
        kept = self._handle() if handle is None else handle
        self._endpoints[kept] = endpoint
        return kept

    def close(self, endpoints: Sequence[int]) -> None:
        for handle in endpoints:
            endpoint = self._endpoints.pop(handle, None)
            if endpoint is not None:
                endpoint.socket.close()

    def send(self, endpoint: int, payload: bytes, to: Sequence[Any] | None = None) -> int:
        opened = self._endpoints[endpoint].socket
        return opened.send(payload) if to is None else opened.sendto(payload, tuple(to))

    def send_each(self, endpoint: int, datagrams: Sequence[Any]) -> list[list[Any]]:
        """Sends every `[payload, to]`; of each, when (ns since the epoch), and why the kernel refused it (or None)."""
        opened = self._endpoints[endpoint].socket
        sent: list[list[Any]] = []
        for payload, to in datagrams:
            when, refusal = time.time_ns(), None
            try:
                opened.sendto(payload, tuple(to))
            except OSError as error:
                refusal = error.strerror or str(error)
            sent.append([when, refusal])
        return sent

    def send_many(
        self, node: int, payloads: Sequence[bytes], to: Sequence[Any] | None, **fields: Unpack[Opening]
    ) -> list[Any]:
        """Opens a socket, sends, closes it; returns the socket's own name (the source address)."""
        with self._nodes[node].stack.entered():
            endpoint = sockets.open_endpoint(**fields)
        with endpoint.socket as opened, sockets.naming(f"send to {to[0] if to else 'the connected address'}"):
            for payload in payloads:
                if to is None:
                    opened.send(payload)
                else:
                    opened.sendto(payload, tuple(to))
            return list(opened.getsockname()[:2])

    def send_fence(self, node: int, payload: bytes, to: Sequence[Any], **fields: Unpack[Opening]) -> None:
        """Sends a fence.  That it cannot be sent (no route, say) is not this call's failure: it will not arrive."""
        with contextlib.suppress(OSError):
            self.send_many(node, [payload], to, **fields)

    def inject(self, node: int, device: str, frame: bytes) -> None:
        """Puts one Ethernet frame on a device as it is (packet(7))."""
        with sockets.naming(f"send a frame on {device}"):
            self._nodes[node].injector().sendto(frame, (device, int.from_bytes(frame[12:14], "big")))

    def set_option(self, endpoint: int, level: int, option: int, value: Any) -> None:
        sockets.set_option(self._endpoints[endpoint].socket, level, option, value)

    def connect(self, node: int, timeout: float, handle: int | None = None, **fields: Unpack[Opening]) -> int:
        """Opens a socket that connects, and waits until it is connected; a failure is raised as OSError."""
        endpoint = self.open(node, handle, **fields)
        number = sockets.writable(self._endpoints[endpoint], timeout)
        if number:
            self.close([endpoint])
            raise OSError(number, os.strerror(number))
        return endpoint

    def accept(self, endpoint: int, timeout: float, handle: int | None = None) -> int:
        """Waits for a connection and returns it as a new endpoint."""
        listener = self._endpoints[endpoint].socket
        poller = select.poll()
        poller.register(listener, select.POLLIN)
        if not poller.poll(timeout * 1000):
            raise OSError(errno.ETIMEDOUT, "no connection arrived")
        connection, _ = listener.accept()
        connection.setblocking(False)
        return self._keep(Endpoint(connection), handle)

    def wait_for(self, tokens: Sequence[Any], timeout: float, legs: Sequence[dict[str, Any]] = ()) -> list[int]:
        """
        Waits until every `[endpoint, token]` has received something that holds the token; `fences` decides how long.

        `timeout` in seconds; a leg of the underlay is `{"node", "fields", "to", "arrival": node}`.  Returns the
        positions of the tokens that did not arrive.
        """
        ways = [
            fences.MarkerPath(
                functools.partial(self._mark, leg["node"], leg["to"], leg["fields"]), self._nodes[leg["arrival"]].tap()
            )
            for leg in legs
        ]
        return fences.missing([(self._endpoints[handle], token) for handle, token in tokens], ways, timeout)

    def _mark(self, node: int, to: Sequence[Any], fields: SocketKind, marker: bytes) -> None:
        self.send_many(node, [marker], to, **fields)

    def take(self, endpoints: Sequence[int]) -> list[list[dict[str, Any]]]:
        """What each endpoint has received since it was last taken."""
        taken = []
        for handle in endpoints:
            endpoint = self._endpoints[handle]
            endpoint.drain()
            taken.append(endpoint.inbox)
            endpoint.inbox = []
        return taken

    def stream_start(
        self,
        sender: int | None,
        targets: Sequence[tuple[str, int]],
        receivers: Sequence[int],
        tag: bytes,
        rate: float,
        size: int,
        ends_in_loop: bool = False,
    ) -> int:
        """Sends numbered datagrams from one endpoint, if any, and counts them at others (`streaming.Stream`)."""
        opened = [self._endpoints[handle].socket for handle in receivers]
        sending = None if sender is None else self._endpoints[sender].socket
        handle = self._handle()
        self._streams[handle] = StreamEngine(sending, targets, opened, tag, rate, size, ends_in_loop)
        return handle

    def stream_sent(self, stream: int, count: int, timeout: float) -> int:
        """Waits until `count` numbers have been sent; returns how many have."""
        return self._streams[stream].await_sent(count, timeout)

    def stream_heard(self, stream: int, number: int, wanted: Sequence[Sequence[int]], timeout: float) -> bool:
        """Waits until each receiver has heard that number, or a later one, of each of its targets."""
        return self._streams[stream].await_heard(number, wanted, timeout)

    def stream_looped(self, stream: int) -> bool:
        """Whether frames circle: then nothing is sent any more, and no wait for the stream lasts."""
        return self._streams[stream].looped

    def stream_quiet(self, stream: int) -> None:
        """Nothing more is sent; what is on its way is still counted."""
        self._streams[stream].stop_sending()

    def stream_stop(self, stream: int) -> dict[str, Any]:
        """Ends the stream; returns what was sent and heard (`streaming.Stream.stop`)."""
        return self._streams.pop(stream).stop()

    def worker_start(self, endpoint: int, work: Work, apart: bool = False) -> int:
        """
        A process of its own sends by an endpoint, or counts what arrives there (`workers.Worker`).

        `apart`: senders have one processor of this machine, receivers the others.
        """
        handle = self._handle()
        first, *others = range(os.cpu_count() or 1)
        processors = ([first] if work == "send" else others) if apart else []
        self._workers[handle] = LoadWorker(self._endpoints[endpoint].socket.fileno(), work, processors)
        return handle

    def worker_order(self, worker: int, order: dict[str, Any]) -> None:
        """It begins to work (`load.send`, `load.Receiver.report`)."""
        self._workers[worker].order(order)

    def worker_answer(self, worker: int, timeout: float) -> dict[str, Any]:
        """Its answer to the last order."""
        return self._workers[worker].answer(timeout)

    def worker_end(self, workers: Sequence[int]) -> None:
        for handle in workers:
            self._workers.pop(handle).end()

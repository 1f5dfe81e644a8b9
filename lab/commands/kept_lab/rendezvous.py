"""
How the commands meet the process that keeps the lab: an abstract socket named after the checkout.

An abstract socket (unix(7)) needs no file, so nothing stays when its owner is killed.  It has no permissions either,
so both sides look at who the other one is: only the lab's owner and root.

A message is a kind (one letter) and what follows it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pwd
import socket
import struct
import threading
from multiprocessing import connection as messages
from pathlib import Path
from typing import Any

from lab.errors import EnvironmentProblem, UsageProblem

ROOT = Path(__file__).resolve().parents[3]  # lab.machines.base has it too, and execnet, which exec and down do not need

JSON = "j"
"""The kind of a request, and of the answer to it."""

_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid


def address() -> str:
    """One name per checkout."""
    return "\0overcast lab of " + hashlib.sha256(os.fsencode(ROOT)).hexdigest()[:32]


class Connection:
    """Either side of a conversation."""

    def __init__(self, connected: messages.Connection) -> None:
        self._connected = connected
        self._writing = threading.Lock()

    def _socket(self) -> socket.socket:
        return socket.socket(fileno=os.dup(self._connected.fileno()))

    @property
    def peer(self) -> int:
        """The user id of the other side."""
        with self._socket() as own:
            credentials = own.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        return int(_CREDENTIALS.unpack(credentials)[1])

    def send(self, kind: str, payload: bytes = b"") -> None:
        with self._writing:
            self._connected.send_bytes(kind.encode() + payload)

    def receive(self) -> tuple[str, bytes]:
        """The next message; EOFError when the other side has left."""
        try:
            message = self._connected.recv_bytes()
        except OSError:
            raise EOFError("the other side has left") from None
        return message[:1].decode(), message[1:]

    def send_json(self, **message: Any) -> None:
        self.send(JSON, json.dumps(message).encode())

    def receive_json(self) -> dict[str, Any]:
        """The next message, which is a request or the answer to one."""
        message: dict[str, Any] = json.loads(self.receive()[1])
        return message

    def ask(self, **message: Any) -> dict[str, Any]:
        """
        One request and its answer.

        EnvironmentProblem if the other side refuses or leaves; UsageProblem if it does not have what is asked for.
        """
        try:
            self.send_json(**message)
            answer = self.receive_json()
        except (EOFError, BrokenPipeError):
            raise EnvironmentProblem("the process that keeps the lab has ended", remedy="./overcast up") from None
        if "misused" in answer:
            raise UsageProblem(answer["misused"])
        if "problem" in answer:
            raise EnvironmentProblem(answer["problem"], remedy=answer.get("remedy"))
        return answer

    def close(self) -> None:
        self._connected.close()

    def hang_up(self) -> None:
        """Ends the conversation for both sides; a thread that receives wakes up."""
        with contextlib.suppress(OSError), self._socket() as own:
            own.shutdown(socket.SHUT_RDWR)


def listener() -> messages.Listener:
    """The keeper's end; EnvironmentProblem when another process has the name."""
    try:
        return messages.Listener(address(), backlog=socket.SOMAXCONN)
    except OSError:
        raise EnvironmentProblem("a lab of this checkout is being built already", remedy="./overcast down") from None


def connect() -> Connection | None:
    """A connection to the process that keeps this checkout's lab; None when there is none."""
    try:
        connection = Connection(messages.Client(address()))
    except ConnectionRefusedError:
        return None
    owner, own = connection.peer, os.geteuid()
    trusted = {own, 0} if own else {0, ROOT.stat().st_uid, int(os.environ.get("SUDO_UID", 0))}
    if owner not in trusted:
        raise EnvironmentProblem(f"the lab of this checkout belongs to {user(owner)}, who is not trusted")
    if owner != own and own:
        raise EnvironmentProblem(
            f"the lab of this checkout belongs to {user(owner)}, but you are {user(own)}",
            remedy="run the same command with sudo",
        )
    return connection


def the_lab() -> Connection:
    """A connection to the lab; EnvironmentProblem when none is up."""
    connection = connect()
    if connection is None:
        raise EnvironmentProblem("no lab is up in this checkout", remedy="./overcast up")
    return connection


def user(number: int) -> str:
    """A user's name, for a message."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"

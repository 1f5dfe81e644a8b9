"""
One run at a time on a host: abstract sockets (unix(7)) that live exactly as long as the process that holds them.

    @overcast-run                             held by a run's agent: another run is refused
    @overcast-run of opc@desk, process 4711   its owner, for readers of /proc/net/unix

A socket without a file needs no clean-up, also after SIGKILL.  It is seen by the processes of one network stack.
Standard library alone, Python 3.9 or newer.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import time

NAME = "\0overcast-run"
OF = f"{NAME} of "
LONGEST = 107  # octets of a socket's name, sun_path without its first


class Occupancy:
    """What one run holds of the stack that it was made in."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []

    def claim(self, holder: str, timeout: float) -> str:
        """
        Takes the stack for a run, once another one that is just ending has ended; `timeout` in seconds.

        Returns nothing, or who still holds it then.
        """
        deadline = time.monotonic() + timeout
        while True:
            try:
                self._sockets.append(_listening(NAME))
                self._sockets.append(_listening((OF + holder).encode()[:LONGEST].decode(errors="ignore")))
                return ""
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            if not wait_free(NAME, deadline - time.monotonic()):
                return _holder()


def wait_free(name: str, timeout: float) -> bool:
    """Waits until no socket of this stack listens under an abstract name; False when one still does at the deadline."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as waiting:
        waiting.settimeout(max(timeout, 0.001))
        try:
            waiting.connect(name)
            waiting.recv(1)
        except (socket.timeout, BlockingIOError):
            return False
        except (ConnectionRefusedError, ConnectionResetError):  # there is none, or it has ended
            pass
        return True


def _listening(name: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        made.bind(name)
        made.listen()
    except OSError:
        made.close()
        raise
    return made


def _holder() -> str:
    with contextlib.suppress(OSError), open("/proc/net/unix") as listing:
        for line in listing:
            _, found, holder = line.rstrip("\n").partition(OF.replace("\0", "@"))
            if found:
                return holder
    return "another run"

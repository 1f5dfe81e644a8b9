"""
The restorer: a separate process that undoes an agent's changes on request, or when the agent has ended.

    agent ── {"undo": ...} before each change, "forget" when it was refused ──▶ restorer
    agent ── the end of the pipe ──▶ it undoes everything, the last change first, reports what it could not, and ends

The end of the pipe is the only order there is: on request the agent closes it, and the kernel does when the agent ends,
by SIGKILL too.  The restorer is in a session of its own and deaf to the signals that end a login.  A stack has one at a
time: it holds a socket whose name lives as long as it does, which is also how others learn that it has ended.
Standard library and pyroute2, Python 3.9 or newer.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import sys
import syslog
from collections.abc import Sequence
from typing import Any

from lab.agent import modules, occupancy
from lab.agent.stack import procfs

DEAF_TO = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGPIPE)
GONE = (errno.ENODEV, errno.ESRCH, errno.EADDRNOTAVAIL)
"""The kernel's errors for an object that is removed already."""

NAME = "\0overcast-restorer"
"""Of a socket without a file, seen by the processes of one network stack (unix(7), abstract)."""

RestoreStep = dict[str, Any]


def main() -> None:
    """Arguments: the descriptors to read steps from and to report to.  Leaves the caller's session and family first."""
    incoming, outgoing = (int(word) for word in sys.argv[-2:])
    if os.fork():
        os._exit(0)
    os.setsid()
    for number in DEAF_TO:
        signal.signal(number, signal.SIG_IGN)
    try:
        restorer = Restorer()
    except OSError as error:
        _report(outgoing, {"unable": error.strerror or str(error)})
        raise
    _report(outgoing, {"ready": True})
    with os.fdopen(incoming) as steps:
        for line in steps:
            # a line without its end was cut off by the agent's death: the change was not made
            if line.endswith("\n"):
                restorer.take(json.loads(line))
    failures = restorer.undo()
    for failure in failures:
        _report(outgoing, failure)
    if not _report(outgoing, {"done": True}):
        for failure in failures:
            syslog.syslog(
                syslog.LOG_ERR, f"overcast could not undo a change ({failure['error']}): {failure['command']}"
            )


def wait_restored(timeout: float) -> bool:
    """Waits until the stack that the thread is in has no restorer; False when it still has at the deadline (s)."""
    return occupancy.wait_free(NAME, timeout)


def _report(descriptor: int, words: dict[str, Any]) -> bool:
    """Whether anybody listens."""
    try:
        os.write(descriptor, json.dumps(words).encode() + b"\n")
    except OSError:
        return False
    return True


class Restorer:
    """What is to be undone in the stack that the process is in."""

    def __init__(self) -> None:
        try:
            self._presence = occupancy.listening(NAME)
        except OSError as error:
            raise OSError(
                errno.EBUSY, "another run has set up an overlay here and not removed it yet; nothing was changed"
            ) from error
        # now, not when it is needed: nothing may be missing then
        from lab.agent.changes.links import Links
        from lab.agent.rtnl import Transport

        self._transport = Transport()
        self._links = Links(self._transport, _no_node)
        self._steps: list[RestoreStep] = []

    def take(self, message: dict[str, Any]) -> None:
        if "forget" in message:
            self._steps.pop()
        else:
            self._steps.append(message["undo"])

    def undo(self) -> list[dict[str, str]]:
        """Undoes every step, the last one first; returns those that failed, each with the command that does it."""
        failures = []
        for step in reversed(self._steps):
            try:
                getattr(self, "_" + step["verb"])(**step["fields"])
            except Exception as error:  # whatever it is, the other steps are still to be undone
                failures.append({"command": step["command"], "error": str(error)})
        return failures

    def _take_away(self, verb: str, fields: dict[str, Any]) -> None:
        try:
            self._links.apply([(verb, fields)])
        except OSError as error:
            if error.errno not in GONE:
                raise

    def _again(self, kind: int, body: str, what: str) -> None:
        """A request with the very octets that the kernel described the object by."""
        from lab.agent.rtnl import CREATE

        self._transport.queue_raw(kind, CREATE, bytes.fromhex(body), what)
        self._transport.flush()

    def _sysctl(self, name: str, value: str) -> None:
        procfs.write_sysctl(name, value)

    def _unload(self, names: Sequence[str]) -> None:
        """Unloads the modules, those that others depend on last."""
        while there := {name: users for name, users in modules.loaded().items() if name in names}:
            idle = [name for name, users in there.items() if not users]
            if not idle:
                raise OSError(errno.EBUSY, f"in use: {', '.join(f'{name} ({there[name]})' for name in there)}")
            modules.unload(idle)


def _no_node(handle: int) -> int:
    raise OSError(errno.EINVAL, f"node {handle}: a restorer has one stack only")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()

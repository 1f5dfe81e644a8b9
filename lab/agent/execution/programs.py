"""Programs of the machine, run inside a node: what has no interface of its own to speak to (iptables)."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Sequence
from typing import Any

from lab.agent.modules import PROGRAMS

SYSTEM_PATH = f"{os.environ.get(PROGRAMS, '')}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".lstrip(":")
ENVIRONMENT = {"PATH": SYSTEM_PATH, "LC_ALL": "C", "XTABLES_LOCKFILE": "/dev/null"}

STARTING = threading.Lock()
"""Held while a program is started; who ends the agent takes it first, so that no program is born after that."""


def run(arguments: Sequence[str], timeout: float) -> dict[str, Any]:
    """
    Runs a program in the stack that the thread is in; `status` None: it is not installed.

    OSError (ETIMEDOUT) when it does not end within `timeout` seconds: it is ended then, with all that it started.
    """
    found = shutil.which(arguments[0], path=SYSTEM_PATH)
    if found is None:
        return {"status": None, "output": "", "errors": f"{arguments[0]}: not found"}
    # vfork and exec keep the thread's stack: the child is born inside the node
    with STARTING:
        process = subprocess.Popen(
            [found, *arguments[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **ENVIRONMENT},
            errors="replace",
            text=True,
            start_new_session=True,
        )
    with process:
        try:
            output, errors = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise OSError(errno.ETIMEDOUT, f"`{shlex.join(arguments)}` did not end within {timeout:g} s") from None
    return {"status": process.returncode, "output": output, "errors": errors}

"""Programs of the machine, run inside a node: what has no interface of its own to speak to (iptables)."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"PATH": SYSTEM_PATH, "LC_ALL": "C", "XTABLES_LOCKFILE": "/dev/null"}


def run(arguments: Sequence[str], timeout: float) -> dict[str, Any]:
    """Runs a program in the stack that the thread is in; `status` None: it is not installed."""
    found = shutil.which(arguments[0], path=SYSTEM_PATH)
    if found is None:
        return {"status": None, "output": "", "errors": f"{arguments[0]}: not found"}
    # vfork and exec keep the thread's stack: the child is born inside the node
    done = subprocess.run(
        [found, *arguments[1:]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
        env={**os.environ, **ENVIRONMENT},
        errors="replace",
        text=True,
    )
    return {"status": done.returncode, "output": done.stdout, "errors": done.stderr}

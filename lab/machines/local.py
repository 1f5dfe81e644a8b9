"""
The local machine: this kernel, in namespaces of its own.

The agent is started through unshare(1): a network namespace as its home, a PID namespace so that whatever it starts
dies with it, a mount namespace with a private /run, and, when the user is not root, a user namespace in which it is.
Nothing of the host's is visible to it by name, and nothing of its is left when it dies.  So it is ended by SIGKILL,
whatever it does.  Its session is its own: Ctrl-C is for the run, not for the agent.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import execnet

from lab.errors import EnvironmentProblem
from lab.machines import processors
from lab.machines.base import ROOT, Agent, Machine

USERNS_SYSCTLS = {
    "kernel/unprivileged_userns_clone": ("0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    "kernel/apparmor_restrict_unprivileged_userns": (
        "1",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
    "user/max_user_namespaces": ("0", "sysctl -w user.max_user_namespaces=15000"),
}

PRIVILEGED = "run the container with --privileged (or --cap-add SYS_ADMIN --cap-add NET_ADMIN)"


def unshare_command() -> list[str]:
    """The program that runs another one in the namespaces of a lab."""
    arguments = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child=KILL"]
    return arguments if os.geteuid() == 0 else [*arguments, "--user", "--map-root-user"]


def missing_program() -> EnvironmentProblem | None:
    """The programs that start the agent and are not installed; None when they are."""
    if lacking := [name for name in ("setpriv", "setsid", "unshare") if shutil.which(name) is None]:
        return EnvironmentProblem(
            f"the lab requires programs of util-linux that are not on the PATH: {', '.join(lacking)}",
            remedy="sudo apt-get install --reinstall util-linux",
        )
    return None


def unavailable() -> EnvironmentProblem | None:
    """Why namespaces cannot be had here, with the fix; None when they can."""
    if problem := missing_program():
        return problem
    tried = subprocess.run(
        [*unshare_command(), "true"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    if tried.returncode == 0:
        return None
    said = tried.stderr.strip() or f"exit status {tried.returncode}"
    if os.geteuid() == 0:
        return EnvironmentProblem(
            f"root cannot create namespaces here ({said}): expected the capability CAP_SYS_ADMIN, "
            "which containers usually drop",
            remedy=PRIVILEGED,
        )
    for name, (forbidding, remedy) in USERNS_SYSCTLS.items():
        path = Path("/proc/sys") / name
        if path.exists() and path.read_text().strip() == forbidding:
            found = f"{name.replace('/', '.')} is {forbidding}"
            return EnvironmentProblem(
                f"an ordinary user cannot create user namespaces here: {found} ({said})",
                remedy=f"sudo {remedy}, or run with sudo",
            )
    return EnvironmentProblem(f"an ordinary user cannot create user namespaces here ({said})", remedy="run with sudo")


def start(group: execnet.Group) -> Machine:
    """
    Starts an agent on this kernel.

    Raises EnvironmentProblem when namespaces are not to be had.
    """
    problem = unavailable()
    if problem is not None:
        raise problem
    python = shlex.join(["setpriv", "--pdeathsig", "KILL", "setsid", *unshare_command(), sys.executable])
    gateway = group.makegateway(f"popen//python={python}//id=local-{os.getpid()}")
    place = processors.ProcessorSlot()

    def end() -> None:
        gateway._io.kill()
        gateway._io.wait()
        place.close()

    machine = Machine("local", "the agent on this machine", gateway, [str(ROOT)], on_close=end)
    machine.call(Agent.pin, cpu=place.cpu)
    return machine

"""
The guest machine: a kernel with everything the lab needs, booted for the run as an ordinary process.

    host                                  guest (User-Mode Linux)
    Booting() -------- launches --------> kernel, modules, Python as first process
    Booting.gateway() <-- READY ---------  |
    execnet.Gateway <----- wire ---------> execnet's worker, then the agent

Nothing of a guest outlives the process that booted it, not even by SIGKILL: the kernel of the host ends the guest with
its owner, and the guest keeps no file that has a name.

How a kernel is started is `uml`'s business and how bytes travel is `wire`'s: another provider is a neighbour of `uml`.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import execnet

from lab.errors import EnvironmentProblem, MachineLost
from lab.machines import processors
from lab.machines.guests import console, uml, wire, xstate
from lab.tunnels import KINDS

MODULES = (
    *("veth", "bridge", *(kind.module for kind in KINDS.values()), "sch_ingress", "cls_bpf"),
    *("bpfilter", "ip_tables", "iptable_filter"),
)
"""
Loaded at boot; every other module comes when it is asked for (`lab.agent.modules.load`, or by the kernel itself).

bpfilter starts a process, which every call of iptables queries first: loaded by such a call it may not be ready for it.
"""

FAREWELL = 1.0
"""Seconds that a guest gets to power off before it is killed."""

CONSOLE_TAIL = 3000
"""Bytes of the console that a message quotes."""

_CHECKOUT = Path(__file__).resolve().parents[3]
_INIT = Path(__file__).resolve().with_name("guest_init.py")


def available(kernel: str | None = None) -> EnvironmentProblem | None:
    """None if a guest can be booted here, else what is missing, with the command that brings it."""
    return uml.Kernel.find(kernel).missing()


class Booting:
    """
    A guest that is launched at once, so that its boot overlaps other work.  `gateway` waits for it, `close` ends it.

    `cpu` is the one CPU it runs on, by default the one that has the fewest guests.  `modules` are loaded at
    boot; one that is built in or absent is no error.  `boot_timeout` is in seconds from now.

    Raises EnvironmentProblem if a guest cannot be started here.  Make it in the main thread: the host's kernel ends
    a guest with the *thread* that started it.
    """

    def __init__(
        self,
        *,
        memory: str = f"{uml.FEWEST}M",
        cpu: int | None = None,
        modules: Sequence[str] = MODULES,
        boot_timeout: float = 30.0,
        kernel: str | None = None,
        kernel_arguments: Sequence[str] = uml.FAST_BOOT,
    ) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("a guest was booted outside the main thread: it would end with that thread")
        found = uml.Kernel.find(kernel)
        if problem := found.missing():
            raise EnvironmentProblem(f"no guest kernel can be booted: {problem.message}", remedy=problem.remedy)
        self._memory_size = uml.memory_size(memory)
        directory = uml.memory_directory(self._memory_size)
        settings = _settings(found, modules)
        registers = xstate.library() if xstate.needed() else None
        self._boot_timeout = boot_timeout
        self._deadline = time.monotonic() + boot_timeout
        self._closing = threading.RLock()
        self._closed = False
        self._wire: wire.GuestWire | None = None
        self._gateway: execnet.Gateway | None = None
        self._place = processors.ProcessorSlot() if cpu is None else None
        self._last_words = ""
        # A file without a name: it needs no removal.
        self._console = io.FileIO(os.memfd_create("guest console"))
        self._line = line = wire.GuestPipes()
        command = uml.command(
            found,
            memory=memory,
            cpu=self._place.cpu if self._place else cpu or 0,
            lines=[(line.far_input, line.far_output), line.far_acks],
            init=[os.path.realpath(sys.executable), "-S", "-E", "-s", str(_INIT), *settings],
            registers=registers,
            kernel_arguments=kernel_arguments,
        )
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self._console,
                stderr=self._console,
                pass_fds=line.far_ends if registers is None else (*line.far_ends, registers),
                env={**os.environ, "TMPDIR": str(directory)},
                start_new_session=True,
            )
        except OSError as error:
            line.close()
            self._console.close()
            raise EnvironmentProblem(
                f"cannot start the guest kernel: {error}",
                remedy="free memory, or allow more processes: free -m; ulimit -u",
            ) from error
        line.close_far_ends()

    @property
    def console(self) -> str:
        """The end of what the guest's kernel and first process wrote to their console."""
        if self._console.closed:
            return self._last_words
        size = os.fstat(self._console.fileno()).st_size
        tail = os.pread(self._console.fileno(), CONSOLE_TAIL, max(0, size - CONSOLE_TAIL))
        return tail.decode(errors="replace").strip()

    @property
    def pid(self) -> int:
        """The host's process that all of the guest's processes descend from."""
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """None while the guest runs; then as a shell reports it (134: its kernel panicked), negative for a signal."""
        return self._process.poll()

    def gateway(self, group: execnet.Group, id: str) -> execnet.Gateway:  # noqa: A002 - as execnet spells it
        """
        Wait until the guest is ready and return a gateway to the Python in it, registered in `group` as `id`.

        Raises MachineLost if the guest ended instead, EnvironmentProblem if it is not ready in time; the guest is
        closed then.
        """
        if self._gateway is not None:
            raise RuntimeError(f"the guest has its gateway already: {self._gateway}")
        if self._closed:
            raise MachineLost("the guest was closed before it had a gateway")
        try:
            self._await_ready()
        except BaseException:
            self.close()
            raise
        spec = execnet.XSpec(f"guest//id={id}")
        spec.execmodel = group.remote_execmodel.backend
        # execnet makes gateways over its own kinds of IO only; with these two steps it makes them.
        self._wire = wire.GuestWire(self._line, self, group.execmodel)
        self._gateway = execnet.Gateway(self._wire, spec)
        group._register(self._gateway)
        return self._gateway

    def _await_ready(self) -> None:
        waiting = select.poll()
        waiting.register(self._line.from_guest, select.POLLIN)
        heard = b""
        while not heard.endswith(wire.READY):
            # What is there already counts, even if the caller comes late.
            remaining = max(0.0, self._deadline - time.monotonic())
            if not waiting.poll(remaining * 1000):
                raise EnvironmentProblem(
                    f"the guest kernel was not ready within {self._boot_timeout:g} s{self._quoted_console()}"
                )
            # Byte by byte: what follows the marker belongs to the wire.
            byte = os.read(self._line.from_guest, 1)
            if not byte:
                raise self.lost("before it was ready")
            heard += byte

    def poke(self) -> None:
        """Raise an interrupt in the guest."""
        if self._wire is not None:
            self._wire.poke()

    def lost(self, when: str = "while it was in use", why: str = "") -> MachineLost:
        """The error for a guest that is gone or does not answer (`why`): how it ended, and why by its console."""
        self._wait(FAREWELL)
        status = self.exit_status
        if console.OUT_OF_MEMORY.search(self.console):
            return MachineLost(
                f"the guest kernel ran out of memory {when}: it had {self._memory_size >> 20} MiB",
                remedy="fewer spokes (--spokes=N), or a machine with more free memory: a guest takes up to "
                f"{uml.FEWEST} MiB, and {uml.PER_SPOKE} more for each spoke beyond ten",
            )
        end = (
            f"ended {when} ({_spoken(status)})" if status is not None else f"does not answer any more{self._seen(why)}"
        )
        return MachineLost(f"the guest kernel {end}{self._quoted_console()}")

    def _seen(self, why: str) -> str:
        """What was noticed of a guest that runs and does not answer, and what its kernel does."""
        state = uml.kernel_state(self._process.pid)
        seen = [why, f"its kernel is in {state}" if state else ""]
        return f" ({'; '.join(filter(None, seen))})" if any(seen) else ""

    def _quoted_console(self) -> str:
        line = console.telling_line(self.console)
        return f"; its console: {line}" if line else ""

    def kill(self) -> None:
        """End the guest without a farewell."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, uml.containment().end)

    def close(self) -> None:
        """Power the guest off, or kill it if it does not hear; takes at most two seconds.  May be called again."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            if self._wire is not None:
                self._wire.close_write()
                self._wait(FAREWELL)
            self.kill()
            if not self._wait(FAREWELL):
                self._process.kill()
                self._process.wait()
            if self._gateway is not None:
                self._gateway.exit()  # sends nothing any more, but leaves its group
                self._gateway.join(FAREWELL)
            else:
                hung_up = select.poll()
                hung_up.register(self._line.from_guest, 0)
                hung_up.poll(FAREWELL * 1000)
            self._line.close()
            if self._place is not None:
                self._place.close()
            self._last_words = self.console
            self._console.close()

    def _wait(self, timeout: float) -> bool:
        """Whether the guest's process ends within `timeout` seconds."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True


def _settings(kernel: uml.Kernel, modules: Sequence[str]) -> list[str]:
    """The arguments of guest_init, which documents their format."""
    execnet_directory = str(Path(execnet.__file__).resolve().parent)
    installed = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    lists = {
        "path": list(dict.fromkeys([str(_CHECKOUT), *installed])),
        "execnet": [execnet_directory],
        "modules": [str(kernel.modules)],
        "load": list(modules),
        "credit": [str(wire.TO_GUEST_ACK), str(wire.FROM_GUEST_LIMIT)],
        "ready": [wire.READY.hex()],
    }
    return [f"oc.{key}={chr(0).join(words).encode().hex()}" for key, words in lists.items()]


def _spoken(status: int) -> str:
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"exit status {status}"

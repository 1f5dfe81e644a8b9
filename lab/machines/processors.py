"""
Which processor a machine runs on: the one that has the fewest machines of ours.

A lab's kernel, or the agent of a lab in this kernel, stays on one processor: packets then keep their order, and a guest
is several times as fast.  Labs side by side, of however many runs, spread over the processors.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket

MOST_PLACES = 32
"""Machines on each processor up to which they are spread evenly."""


def busy() -> str:
    """What to say where figures are measured on a machine that has more to do than processors; empty elsewhere."""
    load, processors = os.getloadavg()[0], len(os.sched_getaffinity(0))
    if load <= processors:
        return ""
    on = f"{processors} processor{'' if processors == 1 else 's'}"
    return f"this machine is busy (load {load:.1f} on {on}): the figures will be worse than those of an idle machine"


class ProcessorSlot:
    """
    A place on a processor (`cpu`, its number), held until `close`.

    The claim on it is an abstract socket (of this host's network namespace): it needs no file, and ends with its owner.
    """

    def __init__(self) -> None:
        allowed = sorted(os.sched_getaffinity(0))
        self._claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        for place, cpu in itertools.product(range(MOST_PLACES), allowed):
            with contextlib.suppress(OSError):
                self._claim.bind(f"\0overcast machine {place} on cpu {cpu}")
                self.cpu = cpu
                return
        self.cpu = allowed[os.getpid() % len(allowed)]

    def close(self) -> None:
        """Another run may have it."""
        self._claim.close()

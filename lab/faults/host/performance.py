"""Faults of speed and of buffers: what arrives, but late, or not all of it, or too often."""

from __future__ import annotations

from lab.faults.places import hub_port, victim
from lab.faults.table import read
from lab.laboratory import BuiltLab
from lab.stack.changes import delay_add, filter_add

LATE = 20.0  # milliseconds that the hub's queue towards one spoke holds everything back
# classic BPF (linux/filter.h): every second frame is dropped, at random
LOSSY = ((0x20, 0, 0, 0xFFFFF000 + 56), (0x54, 0, 0, 1), (0x15, 0, 1, 0), (0x06, 0, 0, 2), (0x06, 0, 0, 0))


def _slow_port(lab: BuiltLab) -> None:
    lab.machine.load_modules("sch_netem")
    lab.hub.node.apply(delay_add(hub_port(lab), LATE))


def _lossy_nic(lab: BuiltLab) -> None:
    """Half of what comes in at one spoke's NIC is dropped."""
    victim(lab).node.apply(filter_add(victim(lab).plan.nic, "ingress", LOSSY, "every second"))


FAULTS = read(
    """\
port-slow: the hub's queue to one spoke delays every packet
    # of the two kernels that a run may have, the guest's is the one with netem
    red: PERF-02; finding: traffic-impaired at hub {port}; tunnels: gretap
nic-lossy: one spoke's NIC loses half of the packets that arrive
    red: PERF-03 HUB-04; finding: traffic-filtered at spoke {nic}
    """,
    {
        "port-slow": _slow_port,
        "nic-lossy": _lossy_nic,
    },
)

"""Rules of what a host lets in from outside of the overlay, and of what its sockets have no room for."""

from __future__ import annotations

from collections.abc import Iterator

from lab.diagnose.scene import Scene
from lab.model import Finding

OVERFLOWN = "UdpRcvbufErrors"


def directed_broadcast(scene: Scene) -> Iterator[Finding]:
    """A host that hands directed broadcast from its NIC on: anybody who reaches it reaches every spoke (RFC 2644)."""
    for host in scene.hosts.values():
        # the kernel asks for both: that of all interfaces, and that of the one where the packet came in
        for nic in (host.plan.nic, host.plan.device):
            if not (host.parameter("bc_forwarding", "all") and host.parameter("bc_forwarding", nic)):
                continue
            forwards = host.parameter("net.ipv4.ip_forward")
            yield Finding(
                "bc-forwarding-on",
                host.name,
                nic,
                f"{host.name} forwards directed broadcast that comes in on {nic}, and takes none itself",
                f"net.ipv4.conf.all.bc_forwarding 1, net.ipv4.conf.{nic}.bc_forwarding 1, ip_forward {forwards}",
                f"sysctl -w net.ipv4.conf.all.bc_forwarding=0 net.ipv4.conf.{nic}.bc_forwarding=0",
                ("SEC-05",),
            )


def receive_buffers(scene: Scene) -> Iterator[Finding]:
    """Datagrams that the network delivered and a socket had no room for, during the trial."""
    for host in scene.hosts.values():
        lost = host.counted.get(OVERFLOWN, 0)
        # other sockets of a live host may overflow meanwhile, which is not the overlay's matter
        if lost > 0 and any(host.name in one.receivers and one.lost(host.name) for one in scene.trial.exchanges):
            yield Finding(
                "receive-buffer-overflow",
                host.name,
                "",
                f"the network delivered to {host.name} what its sockets had no room for",
                f"{OVERFLOWN} rose by {lost}",
                "sysctl -w net.core.rmem_default=212992 net.core.rmem_max=212992    # or SO_RCVBUF in the application",
                ("PERF-03",),
            )


RULES = (directed_broadcast, receive_buffers)

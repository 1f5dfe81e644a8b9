"""Rules of what a host lets in from outside of the overlay, and of what its sockets have no room for."""

from __future__ import annotations

from collections.abc import Iterator

from lab.diagnose.scene import HostScene, Scene
from lab.model import Finding

END_ROUTER = r"kill $(ss -Hawp | sed -n 's/.*:igmp .*pid=\([0-9]*\).*/\1/p')"
OVERFLOWN = "UdpRcvbufErrors"


def directed_broadcast(host: HostScene) -> Iterator[Finding]:
    """A host that hands directed broadcast from its NIC on: anybody who reaches it reaches every spoke (RFC 2644)."""
    # the kernel needs both: that of all interfaces, and that of the receiving one
    for nic in (host.plan.nic, host.plan.device):
        if not (host.parameter("bc_forwarding", "all") and host.parameter("bc_forwarding", nic)):
            continue
        yield host.declared("bc-forwarding-on", nic, forwards=host.parameter("net.ipv4.ip_forward"))


def multicast_routing(host: HostScene) -> Iterator[Finding]:
    """A host that routes multicast between the overlay and another device: there it leaves without a tunnel."""
    router = host.multicast_router
    interfaces = {one["device"]: one for one in router.get("interfaces", ())}
    others = [device for device in interfaces if device != host.plan.device]
    if host.plan.device not in interfaces or not others:
        return
    counts = ", ".join(f"{name} {one['in']} packets in, {one['out']} out" for name, one in interfaces.items())
    holders = [f"{name} (process {number})" for number, name in router["processes"]]
    found = f"{', '.join(holders) or 'the process is not visible to this user'}: {counts}"
    yield host.declared("multicast-routed", others[0], found, END_ROUTER if holders else "")


def receive_buffers(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """Datagrams that the network delivered and a socket had no room for, during the trial."""
    lost = host.counted.get(OVERFLOWN, 0)
    # other sockets of a live host may overflow meanwhile, which is not the overlay's matter
    if lost > 0 and any(host.name in one.receivers and one.lost(host.name) for one in scene.trial.exchanges):
        yield host.declared("receive-buffer-overflow", "", counter=OVERFLOWN, lost=lost)


RULES = (directed_broadcast, multicast_routing, receive_buffers)

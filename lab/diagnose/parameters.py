"""The kernel parameters that are read of a host: those with which no overlay works (`codes`), and what rules need."""

from __future__ import annotations

from lab.diagnose.codes import SETTINGS
from lab.model import NodePlan, Topology
from lab.overlay.recognition import readback

CONNECTIONS, MOST_CONNECTIONS = "net.netfilter.nf_conntrack_count", "net.netfilter.nf_conntrack_max"
EVERYWHERE = ("all", "default")
ROWS = tuple(one for one in SETTINGS if one.of == "kernel")


def _of_rows(beginning: str) -> tuple[str, ...]:
    return tuple(row.name.removeprefix(beginning) for row in ROWS if row.name.startswith(beginning))


STACK = (
    *(row.name for row in ROWS if not row.on and row.name.startswith("net.ipv4.")),
    "net.ipv4.icmp_ratelimit",
    "net.ipv4.ip_forward",
    CONNECTIONS,
    MOST_CONNECTIONS,
    "net.bridge.bridge-nf-call-iptables",
    "net.bridge.bridge-nf-call-arptables",
    "net.bridge.bridge-nf-call-ip6tables",
)
PER_DEVICE = (
    *_of_rows("net.ipv4.conf.{}."),
    *("rp_filter", "arp_announce", "accept_local", "send_redirects", "forwarding", "bc_forwarding", "mc_forwarding"),
)
PER_NEIGHBOUR = _of_rows("net.ipv4.neigh.{}.")
STACK_OF_IPV6 = tuple(row.name for row in ROWS if row.name.startswith("net.ipv6.icmp."))


def names(topology: Topology, plan: NodePlan) -> list[str]:
    """The parameters that are read of a host."""
    devices = [*EVERYWHERE, plan.nic, *topology.devices(plan.name)]
    own = [f"net.ipv4.conf.{device}.{name}" for device in devices for name in PER_DEVICE]
    own += [f"net.ipv4.neigh.{device}.{name}" for device in (plan.nic, plan.device) for name in PER_NEIGHBOUR]
    if topology.ipv6:
        own += [*STACK_OF_IPV6, *(f"net.ipv6.conf.{plan.device}.{name}" for name in _of_rows("net.ipv6.conf.{}."))]
    return list(dict.fromkeys([*STACK, *readback.SYSCTLS, *own]))

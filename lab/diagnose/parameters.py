"""The kernel parameters that are read of a host: those with which no overlay works (`codes`), and what rules need."""

from __future__ import annotations

from lab.diagnose.codes import SETTINGS, Setting
from lab.model import NodePlan, Topology
from lab.overlay.recognition import readback

CONNECTIONS, MOST_CONNECTIONS = "net.netfilter.nf_conntrack_count", "net.netfilter.nf_conntrack_max"
EVERYWHERE = ("all", "default")
ROWS = tuple(one for one in SETTINGS if one.of == "kernel")
CONF = "net.ipv4.conf.{}."
STACK_OF_IPV6 = tuple(row.name for row in ROWS if row.name.startswith("net.ipv6.icmp."))
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
    *(row.name.removeprefix(CONF) for row in ROWS if row.name.startswith(CONF)),
    *("rp_filter", "arp_announce", "accept_local", "send_redirects", "forwarding", "bc_forwarding", "mc_forwarding"),
)


def of_row(row: Setting, plan: NodePlan) -> dict[str, str]:
    """The parameters of a row at a host, and the interface that each is about."""
    devices = {"device": plan.device, "nic": plan.nic, "all": plan.device, "": ""}
    return {row.name.format("all" if at == "all" else devices[at]): devices[at] for at in row.on or ("",)}


def names(topology: Topology, plan: NodePlan) -> list[str]:
    """The parameters that are read of a host."""
    devices = [*EVERYWHERE, plan.nic, *topology.devices(plan.name)]
    own = [f"net.ipv4.conf.{device}.{name}" for device in devices for name in PER_DEVICE]
    rows = [row for row in ROWS if topology.ipv6 or not row.name.startswith("net.ipv6.")]
    return list(dict.fromkeys([*STACK, *readback.SYSCTLS, *own, *(name for row in rows for name in of_row(row, plan))]))

"""Kernel parameters with which no overlay works (ip-sysctl.rst), one row for each, and all that are read of a host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from lab.model import NodePlan, Topology
from lab.overlay.recognition import readback
from lab.overlay.recognition.readback import BROADCAST_PING, DEFAULT_TTL

ECHO_REPLY_BIT = 1 << 0  # of icmp_ratemask: ICMP type 0 (ip-sysctl.rst)
LEAST_MEMORY = 1 << 18  # octets of fragments: several large datagrams
CONNECTIONS, MOST_CONNECTIONS = "net.netfilter.nf_conntrack_count", "net.netfilter.nf_conntrack_max"
EVERYWHERE = ("all", "default")


def below(least: int) -> Callable[[int], bool]:
    """Whether a value is too small."""
    return lambda value: value < least


def other_than(only: int) -> Callable[[int], bool]:
    """Whether a value is not the only correct one."""
    return lambda value: value != only


@dataclass(frozen=True)
class Setting:
    """A setting by its name, and which values of it are wrong; by default any but 0."""

    code: str
    name: str
    usual: int
    """The kernel's own value, which the fix sets."""
    wrong: Callable[[int], bool] = bool


@dataclass(frozen=True)
class Parameter(Setting):
    """A parameter of the kernel (ip-sysctl.rst); with `{}` in the place of a device, `on` has the ones that count."""

    on: tuple[str, ...] = ()
    """`device`: that of the overlay; `nic`; or the kernel's own name for all of them."""
    counts: Literal["always", "planned", "answering", "limited", "tunnels", "native"] = "always"
    """
    `tunnels`, `native`: where the overlay has tunnels, or none (`Topology.native`); `planned`: on hosts whose plan is
    known, others may intend it; `answering`: where broadcast pings are to be answered; `limited`: where ICMP of some
    types is limited.
    """
    fix_with: str = ""
    """What the fix has to set in addition."""


ROWS = (
    Parameter("default-ttl-low", DEFAULT_TTL, 64, below(32)),
    Parameter("arp-requests-off", "net.ipv4.neigh.{}.mcast_solicit", 3, below(1), on=("device", "nic")),
    Parameter("neighbour-queue-short", "net.ipv4.neigh.{}.unres_qlen", 101, below(3), on=("device", "nic")),
    # 1 and 2: it answers for the address that is asked for
    Parameter("arp-unanswered", "net.ipv4.conf.{}.arp_ignore", 0, lambda value: value > 2, on=("all", "device")),
    Parameter("proxy-arp", "net.ipv4.conf.{}.proxy_arp", 0, on=("device",), counts="planned"),
    Parameter("proxy-arp", "net.ipv4.conf.{}.proxy_arp_pvlan", 0, on=("device",), counts="planned"),
    Parameter("ping-ignored", "net.ipv4.icmp_echo_ignore_all", 0),
    Parameter("broadcast-ping-ignored", BROADCAST_PING, 0, counts="answering"),
    Parameter(
        "icmp-limited", "net.ipv4.icmp_ratemask", 6168, lambda mask: bool(mask & ECHO_REPLY_BIT), counts="limited"
    ),
    Parameter("icmp-limited", "net.ipv4.icmp_msgs_per_sec", 1000, below(1000)),
    Parameter("icmp-limited", "net.ipv4.icmp_msgs_burst", 50, below(50)),
    Parameter("memberships-limited", "net.ipv4.igmp_max_memberships", 20, below(20)),
    Parameter("memberships-limited", "net.ipv4.igmp_max_msf", 10, below(10)),
    Parameter("igmp-version-forced", "net.ipv4.conf.{}.force_igmp_version", 0, on=("all", "device"), counts="tunnels"),
    Parameter("igmp-not-forced", "net.ipv4.conf.{}.force_igmp_version", 2, other_than(2), ("device",), "native"),
    Parameter(
        "reassembly-limited",
        "net.ipv4.ipfrag_high_thresh",
        4 << 20,
        below(LEAST_MEMORY),
        fix_with=f" net.ipv4.ipfrag_low_thresh={3 << 20}",
    ),
    Parameter("reassembly-limited", "net.ipv4.ipfrag_time", 30, below(1)),
    Parameter("ipv6-disabled", "net.ipv6.conf.{}.disable_ipv6", 0, on=("device",)),
    Parameter("ipv6-multicast-ping-ignored", "net.ipv6.icmp.echo_ignore_multicast", 0),
    Parameter("ipv6-ping-ignored", "net.ipv6.icmp.echo_ignore_all", 0),
    Parameter("mld-version-forced", "net.ipv6.conf.{}.force_mld_version", 0, lambda version: version == 1, ("device",)),
)


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

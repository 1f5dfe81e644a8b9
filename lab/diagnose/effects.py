"""
What a finding can lose: a setting that is unusual explains no loss of packets that it does not concern.

A code that is in no table may lose anything at its host.
"""

from __future__ import annotations

from collections.abc import Collection

from lab.diagnose.legs import Loss
from lab.model import Finding

LETTING_THROUGH = frozenset({"source-check-off", "underlay-floods", "fabric-floods"})
NOTHING = LETTING_THROUGH | {
    "bridge-mac-not-pinned",
    "broadcast-ping-ignored",
    "cluster-filtered",
    "dhcp-filtered",
    "fallback-tunnel-up",
    "icmp-limited",
    "icmpv6-filtered",
    "igmp-version-forced",
    "ipv6-disabled",
    "ipv6-multicast-ping-ignored",
    "ipv6-ping-ignored",
    "ipv6-unanswered",
    "mld-version-forced",
    "mtu-below-1280",
    "ping-ignored",
    "reserved-forwarded",
    "tos-rewritten",
    "vrrp-filtered",
}
"""No datagram is lost by these, or none of those that a trial sends."""
GROUPS = frozenset(
    {
        "group-table-small",
        "igmp-filtered",
        "member-not-in-mdb",
        "memberships-expire",
        "memberships-limited",
        "multicast-route-elsewhere",
        "multicast-route-missing",
        "multicast-route-narrow",
        "multicast-source-foreign",
        "querier-elsewhere",
        "querier-unplanned",
        "queries-filtered",
        "router-port",
        "snooping-off",
    }
)
"""These concern what is sent to groups."""
WHEREVER_IT_ARRIVES = frozenset({"multicast-source-foreign"})
"""These are wrong with what their host sends, and lose it where it is received."""
IN_THE_CLOUD = frozenset({"default-ttl-low"})
"""These lose packets between hosts, at a router that nobody sees."""


def can_lose(finding: Finding, loss: Loss, losses: Collection[Loss]) -> bool:
    """Whether what a finding names can lose a packet of this kind in this place; `losses` are all there are."""
    if finding.code in NOTHING:
        return False
    if finding.code in WHEREVER_IT_ARRIVES and finding.node != loss.exchange.sender:
        return False
    if finding.code in GROUPS:
        # where broadcast is lost in the same place, whatever loses that loses groups also
        alike = {(one.exchange.sender, one.receiver, one.missing) for one in losses if one.exchange.kind == "broadcast"}
        is_group = loss.exchange.kind in ("multicast", "group")
        return is_group and (loss.exchange.sender, loss.receiver, loss.missing) not in alike
    return finding.code not in IN_THE_CLOUD or loss.stage == "cloud"

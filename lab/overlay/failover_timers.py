"""The timers of redundancy: ARP probes of a bond (Documentation/networking/bonding.rst), and STP's (802.1D)."""

from __future__ import annotations

from ipaddress import IPv4Address

from lab.stack.records import Link

STP_TIMERS = ("forward_delay", "hello_time", "max_age")
ATTRIBUTE, HEAD = 8, 4  # octets of each address in the kernel's list, and of the head before it (linux/netlink.h)


def arp_probes(bond: Link) -> tuple[int, list[str]]:
    """The milliseconds between two probes, 0 for none, and their targets."""
    raw = bytes.fromhex(str(bond.details.get("arp_ip_target") or ""))
    targets = [str(IPv4Address(raw[at + HEAD : at + ATTRIBUTE])) for at in range(0, len(raw) - HEAD, ATTRIBUTE)]
    return int(bond.details.get("arp_interval") or 0), targets

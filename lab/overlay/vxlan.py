"""
VXLAN: Ethernet in UDP port 4789 (RFC 7348; ip-link(8) type vxlan), for clouds that block GRE.

    ip link add vxlan1 type vxlan id 1 local 10.0.0.197 remote 10.0.0.25 dstport 4789 dev ens3 ttl 64

One tunnel per spoke, as with gretap, each with a network identifier of its own; `dev` makes the MTU follow the NIC's.
"""

from __future__ import annotations

from typing import Any

from lab.model import VXLAN_PORT, Change, TunnelOptions

KIND = "vxlan"
PROTOCOL = 17
PORT = VXLAN_PORT
TOS_INHERIT = 1  # no other odd value means that (vxlan_core.c)
OVERHEAD = 50  # outer IPv4 20, UDP 8, VXLAN 8, inner Ethernet 14


def overhead(options: TunnelOptions) -> int:
    """Octets between the underlay's MTU and the overlay's."""
    return OVERHEAD


def link(device: str, local: str, remote: str, nic: str, number: int, options: TunnelOptions, **more: Any) -> Change:
    """Creates one end of a tunnel."""
    data: list[list[Any]] = [
        ["IFLA_VXLAN_ID", number],
        ["IFLA_VXLAN_GROUP", remote],
        ["IFLA_VXLAN_LOCAL", local],
        ["IFLA_VXLAN_PORT", options.port],
        ["IFLA_VXLAN_LINK", nic],
    ]
    if options.ttl is None:
        data.append(["IFLA_VXLAN_TTL_INHERIT", True])
    else:
        data.append(["IFLA_VXLAN_TTL", options.ttl])
    if options.tos_inherit or options.tos:
        data.append(["IFLA_VXLAN_TOS", TOS_INHERIT if options.tos_inherit else options.tos])
    return ("link_add", {"device": device, "kind": KIND, "data": data, **more})


def words(local: str, remote: str, nic: str, number: int, options: TunnelOptions) -> str:
    """The parameters of one end as ip-link(8) takes them, after `type vxlan`."""
    said = [f"id {number} remote {remote} local {local} dstport {options.port} dev {nic}"]
    said.append(f"ttl {options.ttl or 'inherit'}")
    if options.tos_inherit or options.tos:
        said.append("tos inherit" if options.tos_inherit else f"tos {options.tos:#x}")
    return " ".join(said)

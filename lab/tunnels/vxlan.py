"""
VXLAN: Ethernet in UDP port 4789 (RFC 7348; ip-link(8) type vxlan), for clouds that block GRE.

    ip link add vxlan1 type vxlan id 1 local 10.0.0.197 remote 10.0.0.25 dstport 4789 dev ens3 ttl 64

One tunnel per spoke, as with gretap, each with a network identifier of its own; `dev` makes the MTU follow the NIC's.
"""

from __future__ import annotations

import socket
import struct
from typing import ClassVar

from lab.model import VXLAN_PORT, TunnelOptions
from lab.stack.changes import LinkKind, link_kind
from lab.tunnels.kind import Options, TunnelEnd, TunnelKind, address, outer_data, outer_words, udp_end

KIND = "vxlan"
IFLA_VXLAN_ID = 1  # linux/if_link.h


def vxlan(
    id: int,  # noqa: A002  as ip-link(8) calls it
    *,
    remote: str | None = None,
    local: str | None = None,
    dev: str | None = None,
    dstport: int | None = None,
    ttl: int | None = None,
    ttl_inherit: bool | None = None,
    tos: int | None = None,
    df: int | None = None,
) -> LinkKind:
    """`type vxlan` of ip-link(8)."""
    options = {"id": id, "group": remote, "local": local, "port": dstport, "link": dev}
    return link_kind(KIND, "IFLA_VXLAN_", {**options, "ttl": ttl, "ttl_inherit": ttl_inherit, "tos": tos, "df": df})


class Vxlan(TunnelKind):
    """VXLAN, over IPv4."""

    name = KIND
    carrier = "vxlan"
    protocol = socket.IPPROTO_UDP
    module = "vxlan"
    least: ClassVar = {IFLA_VXLAN_ID: struct.pack("=I", 1)}
    port = VXLAN_PORT
    drops_own = True  # vxlan_set_mac
    keeps_inheriting = True  # vxlan_nl2conf

    def overhead(self, options: TunnelOptions) -> int:
        return 50  # outer IPv4 20, UDP 8, VXLAN 8, inner Ethernet 14

    def data(self, local: str, remote: str, nic: str, number: int, options: TunnelOptions) -> LinkKind:
        """Without a remote it is one of as many tunnels as its table has endpoints."""
        return vxlan(
            number,
            remote=remote or None,
            local=local,
            dev=nic,
            ttl_inherit=True if options.ttl is None else None,
            **outer_data(options),
        )

    def words(self, local: str, remote: str, nic: str, number: int, options: TunnelOptions) -> str:
        said = [f"id {number}", *([f"remote {remote}"] if remote else [])]
        said += [f"local {local} dstport {options.port} dev {nic}", f"ttl {options.ttl or 'inherit'}"]
        return " ".join([*said, *outer_words(options)])

    def networkd(self, local: str, remote: str, number: int, options: TunnelOptions) -> tuple[str, dict[str, object]]:
        ends = {"VNI": number, "Local": local, **({"Remote": remote} if remote else {})}
        sent = {"DestinationPort": options.port, "TTL": options.ttl or "inherit"}
        return "VXLAN", {**ends, **sent, "MacLearning": "yes", "Independent": "yes"}

    def read(self, options: Options, default_ttl: int) -> TunnelEnd:
        remote = address(options.get("group")) or address(options.get("group6"))
        local = address(options.get("local")) or address(options.get("local6"))
        return udp_end(KIND, remote, local, options, default_ttl)


VXLAN = Vxlan()

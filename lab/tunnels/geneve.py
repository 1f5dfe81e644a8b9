"""
Geneve: Ethernet in UDP port 6081 (RFC 8926; ip-link(8) type geneve), for clouds that block GRE.

    ip link add geneve1 type geneve id 1 remote 10.0.0.25 dstport 6081 ttl 64

One tunnel per spoke, each with a network identifier of its own.  Unlike VXLAN's, an end accepts packets of its remote
alone and has no table of its own; its outer source is always that of the routing table (drivers/net/geneve.c).
"""

from __future__ import annotations

import socket
import struct
from typing import ClassVar

from lab.model import GENEVE_PORT, TunnelOptions
from lab.stack.changes import LinkKind, link_kind
from lab.tunnels.kind import Options, TunnelEnd, TunnelKind, address, outer_data, outer_words, udp_end

KIND = "geneve"
IFLA_GENEVE_ID, IFLA_GENEVE_REMOTE = 1, 2  # linux/if_link.h


def geneve(
    id: int,  # noqa: A002  as ip-link(8) calls it
    *,
    remote: str,
    dstport: int | None = None,
    ttl: int | None = None,
    ttl_inherit: int | None = None,
    tos: int | None = None,
    df: int | None = None,
) -> LinkKind:
    """`type geneve` of ip-link(8)."""
    sent = {"port": dstport, "ttl": ttl, "ttl_inherit": ttl_inherit, "tos": tos, "df": df}
    return link_kind(KIND, "IFLA_GENEVE_", {"id": id, "remote": remote, **sent})


class Geneve(TunnelKind):
    """Geneve, over IPv4."""

    name = KIND
    carrier = "geneve"
    protocol = socket.IPPROTO_UDP
    module = "geneve"
    least: ClassVar = {
        IFLA_GENEVE_ID: struct.pack("=I", 1),
        IFLA_GENEVE_REMOTE: socket.inet_aton("192.0.2.1"),
    }
    port = GENEVE_PORT
    drops_own = True  # geneve_rx

    def overhead(self, options: TunnelOptions) -> int:
        return 50  # outer IPv4 20, UDP 8, Geneve without options 8, inner Ethernet 14

    def data(self, local: str, remote: str, nic: str, number: int, options: TunnelOptions) -> LinkKind:
        return geneve(number, remote=remote, ttl_inherit=1 if options.ttl is None else None, **outer_data(options))

    def words(self, local: str, remote: str, nic: str, number: int, options: TunnelOptions) -> str:
        said = f"id {number} remote {remote} dstport {options.port} ttl {options.ttl or 'inherit'}"
        return " ".join([said, *outer_words(options)])

    def networkd(self, local: str, remote: str, number: int, options: TunnelOptions) -> tuple[str, dict[str, object]]:
        ends = {"Id": number, "Remote": remote}
        return "GENEVE", {**ends, "DestinationPort": options.port, "TTL": options.ttl or "inherit"}

    def read(self, options: Options, default_ttl: int) -> TunnelEnd:
        remote = address(options.get("remote")) or address(options.get("remote6"))
        return udp_end(KIND, remote, None, options, default_ttl)


GENEVE = Geneve()

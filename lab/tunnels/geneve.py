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

from lab.changes import LinkKind, link_kind
from lab.model import GENEVE_PORT, TunnelOptions
from lab.tunnels.kind import TOS_INHERIT, Options, TunnelEnd, TunnelKind, address, outer_words

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
        return geneve(
            number,
            remote=remote,
            dstport=options.port,
            ttl=options.ttl,
            ttl_inherit=1 if options.ttl is None else None,
            tos=TOS_INHERIT if options.tos_inherit else options.tos or None,
            df=options.df or None,
        )

    def words(self, local: str, remote: str, nic: str, number: int, options: TunnelOptions) -> str:
        said = f"id {number} remote {remote} dstport {options.port} ttl {options.ttl or 'inherit'}"
        return " ".join([said, *outer_words(options)])

    def networkd(self, local: str, remote: str, number: int, options: TunnelOptions) -> tuple[str, dict[str, object]]:
        ends = {"Id": number, "Remote": remote}
        return "GENEVE", {**ends, "DestinationPort": options.port, "TTL": options.ttl or "inherit"}

    def read(self, options: Options, default_ttl: int) -> TunnelEnd:
        tos = options.get("tos") or 0
        return TunnelEnd(
            kind=KIND,
            remote=address(options.get("remote")) or address(options.get("remote6")),
            local=None,
            # geneve_xmit_skb: a TTL of 0 is the route's, which is the host's default; only a flag makes it inherit
            ttl=None if options.get("ttl_inherit") else options.get("ttl") or default_ttl,
            tos_inherit=tos == TOS_INHERIT,
            tos=0 if tos == TOS_INHERIT else tos,
            df=options.get("df") or 0,
            vni=options.get("id"),
            port=options.get("port"),
        )


GENEVE = Geneve()

"""
ip6gretap: Ethernet in GRE in IPv6 (RFC 7676; ip-link(8) type ip6gretap), over an underlay of IPv6.

    ip link add ip6gretap1 type ip6gretap local fd00:10::197 remote fd00:10::25 hoplimit 64 encaplimit 4

Unlike gretap's, its TTL is 64 by default, and a destination option, the tunnel encapsulation limit (RFC 2473
section 4.1.1), stands between the IPv6 header and GRE.
"""

from __future__ import annotations

import socket
from typing import ClassVar

from lab.model import TunnelOptions
from lab.stack.changes import LinkKind, link_kind
from lab.tunnels import gre
from lab.tunnels.kind import Options, TunnelEnd

KIND = "ip6gretap"
ENCAP_LIMIT_OPTION = 8  # the destination options header that holds it
IGNORE_ENCAP_LIMIT, TRAFFIC_CLASS_INHERIT = 0x1, 0x2  # IP6_TNL_F_IGN_ENCAP_LIMIT, IP6_TNL_F_USE_ORIG_TCLASS


def ip6gretap(
    *,
    remote: str,
    local: str | None = None,
    key: int | None = None,
    csum: bool = False,
    seq: bool = False,
    ttl: int | None = None,
    encap_limit: int | None = None,
    flags: int | None = None,
) -> LinkKind:
    """`type ip6gretap` of ip-link(8); `flags` are IP6_TNL_F_ of the tunnel."""
    present = socket.htons(gre.flags(key, csum, seq)) or None
    options = {"remote": remote, "local": local, "ikey": key, "okey": key, "iflags": present, "oflags": present}
    return link_kind(KIND, "IFLA_IP6GRE_", {**options, "ttl": ttl, "encap_limit": encap_limit, "flags": flags})


class Ip6gretap(gre.Gre):
    """ip6gretap, over IPv6."""

    name = KIND
    module = "ip6_gre"
    least: ClassVar = {
        gre.IFLA_GRE_LOCAL: socket.inet_pton(socket.AF_INET6, "2001:db8::1"),
        gre.IFLA_GRE_REMOTE: socket.inet_pton(socket.AF_INET6, "2001:db8::2"),
    }
    over_ipv6 = True
    headers = 58  # outer IPv6 40, GRE 4, inner Ethernet 14

    def overhead(self, options: TunnelOptions) -> int:
        return super().overhead(options) + (0 if options.encap_limit is None else ENCAP_LIMIT_OPTION)

    def data(self, local: str, remote: str, nic: str, number: int, options: TunnelOptions) -> LinkKind:
        """Its outer source must be given: the driver takes none from the routing table."""
        handling = IGNORE_ENCAP_LIMIT if options.encap_limit is None else 0
        return ip6gretap(
            remote=remote,
            local=local,
            key=options.key,
            csum=options.checksum,
            seq=options.sequence,
            ttl=options.ttl or 0,
            encap_limit=options.encap_limit or 0,
            flags=handling | (TRAFFIC_CLASS_INHERIT if options.tos_inherit else 0),
        )

    def words(self, local: str, remote: str, nic: str, number: int, options: TunnelOptions) -> str:
        said = [f"remote {remote} local {local} hoplimit {options.ttl or 'inherit'}"]
        said.append(f"encaplimit {'none' if options.encap_limit is None else options.encap_limit}")
        said += ["tclass inherit"] if options.tos_inherit else []
        return " ".join([*said, *self.fields(options)])

    def networkd(self, local: str, remote: str, number: int, options: TunnelOptions) -> tuple[str, dict[str, object]]:
        section, settings = super().networkd(local, remote, number, options)
        return section, {
            **settings,
            "EncapsulationLimit": "none" if options.encap_limit is None else options.encap_limit,
        }

    def read(self, options: Options, default_ttl: int) -> TunnelEnd:
        handling = options.get("flags") or 0
        return TunnelEnd(
            tos_inherit=bool(handling & TRAFFIC_CLASS_INHERIT),
            encap_limit=None if handling & IGNORE_ENCAP_LIMIT else options.get("encap_limit"),
            **self.end(options),
        )


IP6GRETAP = Ip6gretap()

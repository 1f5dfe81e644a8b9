"""
gretap: Ethernet in GRE (RFC 2784 with protocol type 0x6558; ip-link(8) type gretap).

    ip link add gretap1 type gretap local 10.0.0.197 remote 10.0.0.25 ttl 64
"""

from __future__ import annotations

import socket
from typing import ClassVar

from lab.model import TunnelOptions
from lab.stack.changes import LinkKind, link_kind
from lab.tunnels import gre
from lab.tunnels.kind import Options, TunnelEnd

KIND = "gretap"
TOS_INHERIT = 1  # a bit: what is beside it applies to packets without a TOS (ip_tunnel.c)


def gretap(
    *,
    remote: str | None = None,
    local: str | None = None,
    key: int | None = None,
    csum: bool = False,
    seq: bool = False,
    ttl: int | None = None,
    tos: int | None = None,
    pmtudisc: bool | None = None,
    ignore_df: bool | None = None,
    external: bool | None = None,
) -> LinkKind:
    """`type gretap` of ip-link(8)."""
    flags = gre.flags(key, csum, seq) or None
    options = {"remote": remote, "local": local, "ikey": key, "okey": key, "iflags": flags, "oflags": flags}
    options |= {"ttl": ttl, "tos": tos, "pmtudisc": pmtudisc, "ignore_df": ignore_df, "collect_metadata": external}
    return link_kind(KIND, "IFLA_GRE_", options)


class Gretap(gre.Gre):
    """gretap, over IPv4."""

    name = KIND
    module = "ip_gre"
    least: ClassVar = {
        gre.IFLA_GRE_LOCAL: socket.inet_aton("192.0.2.1"),
        gre.IFLA_GRE_REMOTE: socket.inet_aton("192.0.2.2"),
    }
    beside = ("ip6gretap",)
    headers = 38  # outer IPv4 20, GRE 4, inner Ethernet 14

    def data(self, local: str, remote: str, nic: str, number: int, options: TunnelOptions) -> LinkKind:
        return gretap(
            remote=remote,
            local=local if options.local else None,
            key=options.key,
            csum=options.checksum,
            seq=options.sequence,
            ttl=options.ttl or 0,
            tos=TOS_INHERIT if options.tos_inherit else options.tos,
            pmtudisc=options.pmtudisc,  # a fixed TTL needs path MTU discovery on (ip_gre.c), which is the default
            ignore_df=options.ignore_df or None,
        )

    def words(self, local: str, remote: str, nic: str, number: int, options: TunnelOptions) -> str:
        said = [f"remote {remote}", f"local {local}" if options.local else "local any"]
        said += [f"ttl {options.ttl or 'inherit'}", "tos inherit" if options.tos_inherit else f"tos {options.tos:#x}"]
        said += self.fields(options)
        said += ["pmtudisc" if options.pmtudisc else "nopmtudisc", "ignore-df" if options.ignore_df else "noignore-df"]
        return " ".join(said)

    def networkd(self, local: str, remote: str, number: int, options: TunnelOptions) -> tuple[str, dict[str, object]]:
        section, settings = super().networkd(local, remote, number, options)
        return section, {**settings, "DiscoverPathMTU": "yes" if options.pmtudisc else "no"}

    def read(self, options: Options, default_ttl: int) -> TunnelEnd:
        return TunnelEnd(
            tos_inherit=bool((options.get("tos") or 0) & TOS_INHERIT),
            tos=(options.get("tos") or 0) & ~TOS_INHERIT,
            pmtudisc=bool(options.get("pmtudisc", 1)),
            ignore_df=bool(options.get("ignore_df")),
            **self.end(options),
        )


GRETAP = Gretap()

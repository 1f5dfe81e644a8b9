"""
gretap: Ethernet in GRE (RFC 2784 with protocol type 0x6558; ip-link(8) type gretap).

    ip link add gretap1 type gretap local 10.0.0.197 remote 10.0.0.25 ttl 64
"""

from __future__ import annotations

from typing import Any

from lab.model import Change, TunnelOptions

KIND = "gretap"
PROTOCOL = 47
OVERHEAD = 38  # outer IPv4 20, GRE 4, inner Ethernet 14
TOS_INHERIT = 1  # a bit: what is beside it applies to packets without a TOS (ip_tunnel.c)
GRE_CSUM, GRE_KEY, GRE_SEQ = 0x8000, 0x2000, 0x1000  # RFC 2890


def overhead(options: TunnelOptions) -> int:
    """Octets between the underlay's MTU and the overlay's."""
    return OVERHEAD + 4 * (options.checksum + (options.key is not None) + options.sequence)


def link(device: str, local: str, remote: str, nic: str, number: int, options: TunnelOptions, **more: Any) -> Change:
    """Creates one end of a tunnel."""
    flags = 0
    data: list[list[Any]] = [["IFLA_GRE_REMOTE", remote]]
    if options.local:
        data.append(["IFLA_GRE_LOCAL", local])
    if options.key is not None:
        flags |= GRE_KEY
        data += [["IFLA_GRE_IKEY", options.key], ["IFLA_GRE_OKEY", options.key]]
    if options.checksum:
        flags |= GRE_CSUM
    if options.sequence:
        flags |= GRE_SEQ
    if flags:
        data += [["IFLA_GRE_IFLAGS", flags], ["IFLA_GRE_OFLAGS", flags]]
    data.append(["IFLA_GRE_TTL", options.ttl or 0])
    data.append(["IFLA_GRE_TOS", TOS_INHERIT if options.tos_inherit else options.tos])
    # a fixed TTL needs path MTU discovery on (ip_gre.c), which is the default
    data.append(["IFLA_GRE_PMTUDISC", 1 if options.pmtudisc else 0])
    if options.ignore_df:
        data.append(["IFLA_GRE_IGNORE_DF", 1])
    return ("link_add", {"device": device, "kind": KIND, "data": data, **more})


def words(local: str, remote: str, nic: str, number: int, options: TunnelOptions) -> str:
    """The parameters of one end as ip-link(8) takes them, after `type gretap`."""
    said = [f"remote {remote}", f"local {local}" if options.local else "local any"]
    said += [f"ttl {options.ttl or 'inherit'}", "tos inherit" if options.tos_inherit else f"tos {options.tos:#x}"]
    said.append("nokey" if options.key is None else f"key {options.key}")
    said += ["csum" if options.checksum else "nocsum", "seq" if options.sequence else "noseq"]
    said += ["pmtudisc" if options.pmtudisc else "nopmtudisc", "ignore-df" if options.ignore_df else "noignore-df"]
    return " ".join(said)

"""
ip6gretap: Ethernet in GRE in IPv6 (RFC 7676; ip-link(8) type ip6gretap), over an underlay of IPv6.

    ip link add ip6gretap1 type ip6gretap local fd00:10::197 remote fd00:10::25 hoplimit 64 encaplimit 4

Unlike gretap's, its TTL is 64 unless told otherwise, and a destination option, the tunnel encapsulation limit (RFC 2473
section 4.1.1), stands between the IPv6 header and GRE.
"""

from __future__ import annotations

import socket
from typing import Any

from lab.model import Change, TunnelOptions
from lab.overlay.gretap import GRE_CSUM, GRE_KEY, GRE_SEQ

KIND = "ip6gretap"
PROTOCOL = 47
OVERHEAD = 58  # outer IPv6 40, GRE 4, inner Ethernet 14
ENCAP_LIMIT_OPTION = 8  # the destination options header that holds it
IGNORE_ENCAP_LIMIT, TRAFFIC_CLASS_INHERIT = 0x1, 0x2  # IP6_TNL_F_IGN_ENCAP_LIMIT, IP6_TNL_F_USE_ORIG_TCLASS


def overhead(options: TunnelOptions) -> int:
    """Octets between the underlay's MTU and the overlay's."""
    words = options.checksum + (options.key is not None) + options.sequence
    return OVERHEAD + 4 * words + (0 if options.encap_limit is None else ENCAP_LIMIT_OPTION)


def link(device: str, local: str, remote: str, nic: str, number: int, options: TunnelOptions, **more: Any) -> Change:
    """Creates one end of a tunnel.  Its outer source must be given: the driver takes none from the routing table."""
    flags = GRE_KEY if options.key is not None else 0
    flags |= (GRE_CSUM if options.checksum else 0) | (GRE_SEQ if options.sequence else 0)
    data: list[list[Any]] = [["IFLA_IP6GRE_LOCAL", local], ["IFLA_IP6GRE_REMOTE", remote]]
    if options.key is not None:
        data += [["IFLA_IP6GRE_IKEY", options.key], ["IFLA_IP6GRE_OKEY", options.key]]
    if flags:
        data += [["IFLA_IP6GRE_IFLAGS", socket.htons(flags)], ["IFLA_IP6GRE_OFLAGS", socket.htons(flags)]]
    data.append(["IFLA_IP6GRE_TTL", options.ttl or 0])
    data.append(["IFLA_IP6GRE_ENCAP_LIMIT", options.encap_limit or 0])
    handling = IGNORE_ENCAP_LIMIT if options.encap_limit is None else 0
    handling |= TRAFFIC_CLASS_INHERIT if options.tos_inherit else 0
    data.append(["IFLA_IP6GRE_FLAGS", handling])
    return ("link_add", {"device": device, "kind": KIND, "data": data, **more})


def words(local: str, remote: str, nic: str, number: int, options: TunnelOptions) -> str:
    """The parameters of one end as ip-link(8) takes them, after `type ip6gretap`."""
    said = [f"remote {remote} local {local} hoplimit {options.ttl or 'inherit'}"]
    said.append(f"encaplimit {'none' if options.encap_limit is None else options.encap_limit}")
    said += ["tclass inherit"] if options.tos_inherit else []
    said.append("nokey" if options.key is None else f"key {options.key}")
    said += ["csum" if options.checksum else "nocsum", "seq" if options.sequence else "noseq"]
    return " ".join(said)

"""Ethernet in GRE (RFC 2784 with protocol type 0x6558, RFC 2890): what gretap and ip6gretap share."""

from __future__ import annotations

import socket
from typing import Any

from lab.errors import UsageProblem
from lab.model import TunnelOptions
from lab.tunnels.kind import Options, TunnelKind, address

IFLA_GRE_LOCAL, IFLA_GRE_REMOTE = 6, 7  # linux/if_tunnel.h
CSUM, KEY, SEQ = 0x8000, 0x2000, 0x1000


def flags(key: int | None, csum: bool, seq: bool) -> int:
    """The flags of the optional fields that are present."""
    return (KEY if key is not None else 0) | (CSUM if csum else 0) | (SEQ if seq else 0)


class Gre(TunnelKind):
    """Either kind, as far as the GRE header goes."""

    carrier = "gre"
    protocol = socket.IPPROTO_GRE
    headers: int
    """Octets of the outer IP header, GRE without its optional fields, and the inner Ethernet header."""

    def overhead(self, options: TunnelOptions) -> int:
        return self.headers + 4 * (options.checksum + (options.key is not None) + options.sequence)

    def networkd(self, local: str, remote: str, number: int, options: TunnelOptions) -> tuple[str, dict[str, object]]:
        """Of systemd.netdev(5), which supports neither checksums nor sequence numbers."""
        if options.checksum or options.sequence:
            raise UsageProblem("systemd-networkd does not support tunnels with checksums or sequence numbers")
        ends = {"Local": local if options.local else "any", "Remote": remote, "TTL": options.ttl or "inherit"}
        return "Tunnel", {**ends, **({} if options.key is None else {"Key": options.key}), "Independent": "yes"}

    def fields(self, options: TunnelOptions) -> list[str]:
        """The optional fields as ip-link(8) takes them."""
        key = "nokey" if options.key is None else f"key {options.key}"
        return [key, "csum" if options.checksum else "nocsum", "seq" if options.sequence else "noseq"]

    def end(self, options: Options) -> dict[str, Any]:
        """What an end of either kind has (`kind.TunnelEnd`), as it is."""
        flags_in, flags_out = options.get("iflags") or 0, options.get("oflags") or 0
        return {
            "kind": self.name,
            "remote": address(options.get("remote")),
            "local": address(options.get("local")),
            "ttl": options.get("ttl") or None,
            "input_key": options.get("ikey") if flags_in & KEY else None,
            "output_key": options.get("okey") if flags_out & KEY else None,
            "checksum": (bool(flags_in & CSUM), bool(flags_out & CSUM)),
            "sequence": (bool(flags_in & SEQ), bool(flags_out & SEQ)),
            "link": options.get("link"),
        }

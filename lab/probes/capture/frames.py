"""Frames taken apart with scapy, in the process that judges them; never on the machine that captured them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from lab.probes.capture import layers
from lab.probes.capture.sightings import ETHERNET, IPV6_HEADER, Sighting

UDP_HEADER = 8  # octets


def decode(frame: bytes) -> Any:
    """A frame from its Ethernet header on, as scapy's packet."""
    return layers.Ether(frame)


@dataclass(frozen=True)
class TunnelPacket:
    """A frame on the underlay that carries one of the overlay: the outer and the inner packet, and where it was."""

    sighting: Sighting
    outer: Any
    inner: Any

    @property
    def header(self) -> Any:
        """The outer header, of IPv4 or IPv6: `outer["IP"]` may be the inner one where the outer one is IPv6."""
        return self.outer.payload

    @property
    def source(self) -> str:
        return str(self.header.src)

    @property
    def destination(self) -> str:
        return str(self.header.dst)

    @property
    def length(self) -> int:
        """Octets of the outer packet, its header with it."""
        return int(self.header.plen + IPV6_HEADER if self.header.version == 6 else self.header.len)

    @property
    def ttl(self) -> int:
        """The outer TTL, or hop limit."""
        return int(self.header.hlim if self.header.version == 6 else self.header.ttl)

    @property
    def tos(self) -> int:
        """The outer TOS, or traffic class."""
        return int(self.header.tc if self.header.version == 6 else self.header.tos)


def carried(seen: Iterable[Sighting]) -> Iterator[TunnelPacket]:
    """The tunnelled frames among those seen, taken apart."""
    for sighting in seen:
        if sighting.carrier is None:
            continue
        outer = decode(sighting.frame)
        layer = outer.getlayer("GRE" if sighting.carrier == "GRE" else "VXLAN")
        if layer is None and sighting.carrier != "GRE":  # scapy finds it only by VXLAN's standard port
            layer = layers.VXLAN(sighting.frame[ETHERNET + outer.payload.ihl * 4 + UDP_HEADER :])
        if layer is None:
            continue
        inner = layer.payload
        if type(inner).__name__ in ("Raw", "NoPayload"):
            inner = decode(bytes(inner))
        yield TunnelPacket(sighting, outer, inner)

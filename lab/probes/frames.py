"""
Frames taken apart with scapy, in the process that judges them; never on the machine that captured them.

scapy is imported when the first frame is: most tests pass without looking at one.
"""

from __future__ import annotations

import functools
import tempfile
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from lab.probes.sightings import Sighting

INBOUND, OUTBOUND = 1, 2  # epb_flags of a pcapng packet block


@functools.cache
def scapy() -> ModuleType:
    """Scapy's layers that the suite speaks of: `scapy().IP`, `scapy().GRE`, `scapy().IGMP`."""
    from scapy.layers import igmp, inet, inet6, l2, vxlan

    names: dict[str, Any] = {}
    for module in (l2, inet, inet6, vxlan, igmp):
        names.update({name: value for name, value in vars(module).items() if name[:1].isupper()})
    namespace = types.ModuleType("scapy_layers")
    vars(namespace).update(names)
    return namespace


def decode(frame: bytes) -> Any:
    """A frame from its Ethernet header on, as scapy's packet."""
    return scapy().Ether(frame)


@dataclass(frozen=True)
class Carried:
    """A frame on the underlay that carries one of the overlay: the outer and the inner packet, and where it was."""

    sighting: Sighting
    outer: Any
    inner: Any


def carried(seen: Iterable[Sighting]) -> Iterator[Carried]:
    """The tunnelled frames among those seen, taken apart."""
    for sighting in seen:
        if sighting.carrier is None:
            continue
        outer = decode(sighting.frame)
        layer = outer.getlayer("GRE") if sighting.carrier == "GRE" else outer.getlayer("VXLAN")
        if layer is None:
            continue
        inner = layer.payload
        if type(inner).__name__ in ("Raw", "NoPayload"):
            inner = decode(bytes(inner))
        yield Carried(sighting, outer, inner)


def pcapng(seen: Iterable[Sighting]) -> bytes:
    """The frames as a capture file that names, for each, the node and interface (opens in Wireshark)."""
    from scapy.utils import PcapNgWriter

    with tempfile.TemporaryDirectory() as folder:  # scapy writes to names, not to streams
        path = Path(folder, "frames.pcapng")
        with PcapNgWriter(str(path)) as writer:
            for sighting in seen:
                packet = decode(sighting.frame)
                packet.time = sighting.time / 1e9
                packet.sniffed_on = f"{sighting.node} {sighting.interface}"
                packet.direction = OUTBOUND if sighting.outgoing else INBOUND
                writer.write(packet)
        return path.read_bytes()

"""The tunnel packets of an overlay of a kind on the cloud's network."""

from __future__ import annotations

from collections.abc import Iterable

from lab import tunnels
from lab.clouds import Carrier
from lab.overlay.readback import ConfiguredNode


def carrier_of(kind: str, hosts: Iterable[ConfiguredNode]) -> Carrier:
    """The protocol of tunnel packets of a kind; of UDP with the port that the hosts use, if there is one."""
    known = tunnels.kind(kind)
    ends = [device.tunnel for seen in hosts for device in seen.tunnels()] if known.port else []
    return Carrier(known.protocol, next((end.port for end in ends if end and end.port), known.port))

"""What carries an overlay of a kind across the cloud's network."""

from __future__ import annotations

from collections.abc import Iterable

from lab.clouds import GRE, UDP, Carrier
from lab.overlay import vxlan
from lab.overlay.readback import Seen


def carrier_of(kind: str, hosts: Iterable[Seen]) -> Carrier:
    """What carries tunnels of a kind: for VXLAN with the port that the hosts' tunnels have, if there are any."""
    if kind != vxlan.KIND:
        return Carrier(GRE)
    ends = [device.tunnel for seen in hosts for device in seen.tunnels()]
    return Carrier(UDP, next((end.port for end in ends if end and end.port), vxlan.PORT))

"""
No tunnel: the cloud itself delivers groups to their members (`model.Groups`), and the NIC has the overlay address.

    ip route add 224.0.0.0/4 dev ens3; sysctl -w net.ipv4.conf.ens3.force_igmp_version=2
"""

from __future__ import annotations

from typing import ClassVar, NoReturn

from lab.errors import NotApplicable
from lab.model import TunnelOptions
from lab.tunnels.kind import TunnelKind

KIND = "none"


class NoTunnel(TunnelKind):
    """What is asked of a kind of tunnel where there is none."""

    name = KIND
    carrier = "none"
    protocol = 0
    module = ""
    least: ClassVar = {}

    def overhead(self, options: TunnelOptions) -> int:
        return 0

    def data(self, *_: object) -> NoReturn:
        raise NotApplicable("requires tunnels; there are none")

    words = networkd = read = data  # type: ignore[assignment]  # all refuse


NONE = NoTunnel()

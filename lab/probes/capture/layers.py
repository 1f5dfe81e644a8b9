"""
Scapy's layers that the suite uses, by name: `layers.IP`, `layers.GRE`, `layers.IGMP`.

scapy is imported when the first one is used: most tests pass without looking at a frame.
"""

from __future__ import annotations

import functools
from typing import Any


def __getattr__(name: str) -> Any:
    """One layer."""
    if name[:1].isupper() and name in (known := _layers()):
        return known[name]
    raise AttributeError(f"scapy has no layer {name}")


@functools.cache
def _layers() -> dict[str, Any]:
    from scapy.config import conf

    # frames name all their addresses: this machine's routes, which take a third of the import, are not read
    conf.route_autoload = conf.route6_autoload = False
    from scapy.layers import igmp, inet, inet6, l2, vxlan

    names: dict[str, Any] = {}
    for module in (l2, inet, inet6, vxlan, igmp):
        names.update(vars(module))
    return names

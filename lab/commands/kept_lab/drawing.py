"""A lab drawn in text, as `./overcast up` shows it."""

from __future__ import annotations

from lab.model import NodePlan, Topology, Underlay
from lab.underlay import fabric

MOST_DRAWN = 12
"""Spokes up to which each has its line; of more, the first ones and the last are shown."""


def lab(topology: Topology, underlay: Underlay) -> str:
    """
    The nodes, overlay on the left, the cloud's network on the right, and what lies between its subnets.

        hub          bridge0   172.16.254.1/24   ens3   10.0.0.197/24
        ├─ spoke1    gretap1   172.16.254.2/24   ens3   10.0.0.25/24
        └─ spoke2    gretap2   172.16.254.3/24   ens3   10.0.0.131/24

        cloud network: vcn, MTU 9000, refuses broadcast and multicast

    Without a hub the hosts stand below each other.
    """
    first, *spokes = topology.nodes
    branches = ("├─ ", "└─ ") if first.is_hub else ("", "")
    left_out = max(0, len(spokes) - MOST_DRAWN)
    if left_out:
        spokes = [*spokes[: MOST_DRAWN - 1], spokes[-1]]
        left_out += 1
    rows = [_row("", first), *(_row(branches[0], spoke) for spoke in spokes[:-1]), _row(branches[1], spokes[-1])]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if left_out:
        lines.insert(-1, f"┊  {left_out} more")
    return "\n".join(["", *(f"    {line}" for line in lines), "", f"    {_cloud(topology, underlay)}", ""])


def _row(branch: str, node: NodePlan) -> tuple[str, str, str, str, str]:
    return branch + node.name, node.device, str(node.overlay), node.nic, str(node.underlay)


def _cloud(topology: Topology, underlay: Underlay) -> str:
    provider = underlay.provider
    forms = {"broadcast": provider.broadcast, "multicast": provider.multicast, "GRE": provider.gre}
    refused = [form for form, passes in forms.items() if not passes]
    policy = f"MTU {provider.mtu}, refuses {', '.join(refused) or 'nothing'}"
    parts = fabric.segments(topology, underlay)
    if not underlay.routers:
        return f"cloud network: {parts[0].bridge}, {policy}"
    hops = ["hub", parts[0].bridge, *fabric.routers(underlay), parts[-1].bridge, "spokes"]
    return f"cloud network: {' ─ '.join(hops)}; {policy}"


def title(topology: Topology, underlay: Underlay) -> str:
    """The lab in one line."""
    options = topology.options
    ttl = "inherit" if options.ttl is None else options.ttl
    kind = "no tunnels" if topology.native else f"{options.kind} with ttl {ttl}"
    return f"{topology.name} topology, {kind}, {underlay.provider.title} ({underlay.name})"

"""A lab in which a fault has moved overlay addresses from tunnels to bridges over them."""

from __future__ import annotations

from dataclasses import replace

from lab.laboratory import BuiltLab
from lab.overlay.recognition import readback, tunnel_ends


def with_bridges(lab: BuiltLab) -> BuiltLab:
    """The lab as it is now, where a spoke's overlay address may be on a bridge of its own whose port is its tunnel."""
    seen = readback.read([lab.nodes[plan.name] for plan in lab.topology.spokes])
    found = []
    for plan in lab.built_from.nodes:
        on_tunnel = plan.holder == "tunnel"
        tunnel = seen[plan.name].devices.get(plan.device) if on_tunnel else None
        device = tunnel_ends.holder(seen[plan.name], tunnel) if tunnel else plan.device
        moved = on_tunnel and plan.overlay in seen[plan.name].addresses_of(device)
        found.append(replace(plan, device=device, holder=tunnel_ends.kind_of(device, plan.device)) if moved else plan)
    if tuple(found) == lab.topology.nodes:
        return lab
    topology = replace(lab.topology, nodes=tuple(found))
    return BuiltLab(lab.machine, topology, lab.underlay, lab.nodes, built_from=lab.built_from)

"""What a PRP device needs that its parameters do not say (net/hsr)."""

from __future__ import annotations

from lab.machines.base import Call
from lab.machines.node import Agent, Node
from lab.model import NodePlan, mac_of

EXPERIMENTAL = bytes.fromhex("88b5")  # IEEE Std 802: an EtherType for experiments
LEAST_PAYLOAD = 46  # octets in an Ethernet frame


def first_frames(node: Node, plan: NodePlan) -> list[tuple[Node, Call[None]]]:
    """
    Two broadcasts of a new PRP device: its first frame is lost, and so is the first one that each receiver has of it.

    A table of nodes has the number of a new one's first frame as that of the last frame which was let through
    (net/hsr/hsr_framereg.c: hsr_get_node, hsr_register_frame_out).
    """
    mac = bytes.fromhex(mac_of(plan.overlay.ip).replace(":", ""))
    frame = b"\xff" * 6 + mac + EXPERIMENTAL + bytes(LEAST_PAYLOAD)
    return [(node, node.call(Agent.inject, device=plan.device, frame=frame)) for _ in range(2)]

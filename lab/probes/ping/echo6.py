"""
ICMPv6 echo (RFC 4443 section 4) to a unicast or multicast address, counted as `echo` counts ICMP.

The kernel fills in the checksum, and gives a raw socket the message without its IPv6 header (RFC 3542 section 3).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from lab.machines.node import Node
from lab.model import Network, Topology
from lab.probes import options
from lab.probes.host_state import ipv6
from lab.probes.ping import echo

ECHO_REQUEST, ECHO_REPLY = 128, 129
HEADER = struct.Struct("!BBHHH")


def request(identifier: int, sequence: int, payload: bytes) -> bytes:
    return HEADER.pack(ECHO_REQUEST, 0, 0, identifier, sequence) + payload


def reply(received: Mapping[str, Any]) -> echo.Reply | None:
    message: bytes = received["payload"]
    if len(message) < HEADER.size:
        return None
    kind, _, _, identifier, sequence = HEADER.unpack_from(message)
    if kind != ECHO_REPLY:
        return None
    return echo.Reply(str(received["source"][0]).partition("%")[0], identifier, sequence, received["ttl"])


PROTOCOL = echo.Protocol(options.ICMP6, request, reply, options.IPV6)


def ping(
    node: Node,
    topology: Topology,
    to: str,
    *,
    nodes: Mapping[str, Node],
    network: Network = "overlay",
    device: str | None = None,
    **fields: Any,
) -> echo.Answers:
    """Pings `to` once out of a device, by default the network's own; answers count for the node they came from."""
    found = ipv6.link_locals(nodes, topology.plans, network)
    ipv6.required(found, node.name, topology.node(node.name))
    return echo.ping(
        node,
        topology,
        to,
        nodes=nodes,
        network=network,
        device=device or topology.node(node.name).interface(network),
        protocol=PROTOCOL,
        addresses={name: own.local for name, own in found.items()},
        **fields,
    )

"""The state of a snooping bridge: the ports that it lists for a group, and the IGMP behind it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, ip_address
from typing import Any

from lab.errors import CheckFailed
from lab.machines.node import Agent, Node
from lab.model import ALL_HOSTS, Topology
from lab.probes.capture import layers

LISTED_DEADLINE = 2.0  # seconds; a report leaves within two ticks of its host's clock, an entry is deleted on request
QUERY, V2_REPORT = 0x11, 0x16
VERSION_2 = 2
IPV4 = 4
LINK_LOCAL = IPv4Network("224.0.0.0/24")
TOS, TTL = 0xC0, 1


def port_of(topology: Topology, host: str, hub: str = "") -> str:
    """
    The port of a hub's bridge (default: the first hub's) behind which a host is; the bridge for the hub itself.

    A bond that uses its tunnel to the other hub is behind the port to that hub.
    """
    at = hub or topology.hub.name
    used = (
        [topology.node(at).device] if host == at else [path[0].start.device for path in topology.used_paths(at, host)]
    )
    return used[0] if used else topology.port(at, host)


def prunes(parameters: Mapping[str, Any]) -> bool:
    """Whether a bridge with these parameters (ip-link(8)) sends groups to their members alone."""
    return bool(parameters.get("mcast_snooping") and parameters.get("mcast_querier"))


def is_listed(group: str) -> bool:
    """Whether bridges list a group of IPv4: not those that they flood in any case (RFC 4541 section 2.1.2)."""
    address = ip_address(group)
    return address.version == IPV4 and address not in LINK_LOCAL


def listed(node: Node, group: str) -> set[str]:
    """The ports that a node's bridge lists for a group."""
    return {entry.port for entry in node.read("mdb") if entry.group == group}


def members(group: str, ports: Iterable[str]) -> list[dict[str, str]]:
    """The entries of a multicast database by which each of the ports is listed for a group."""
    return [{"group": group, "port": port} for port in ports]


def await_listed(
    node: Node, group: str, ports: Iterable[str], *, present: bool = True, timeout: float = LISTED_DEADLINE
) -> None:
    """Waits until the bridge lists each of the ports for a group, or none of them; CheckFailed when it does not."""
    wanted = sorted(ports)
    wrong = [wanted[at] for at in node.ask(Agent.await_entries, "mdb", members(group, wanted), timeout, present)]
    if wrong:
        there = ", ".join(sorted(listed(node, group))) or "no port"
        raise CheckFailed(
            f"{node.name} {'does not list' if present else 'still lists'} {', '.join(wrong)} for {group} after "
            f"{timeout:g} s; its multicast database lists {there}",
            remedy=f"on {node.name}: tcpdump -ni {wrong[0]} igmp    # on the member: iptables -vnL OUTPUT",
        )


def versions(node: Node) -> dict[str, int]:
    """A host's IGMP version, by device: 3, or that of the oldest querier from which it has received."""
    return versions_of(node.read_net("igmp"))


def versions_of(igmp_file: str) -> dict[str, int]:
    """The same from the text of /proc/net/igmp."""
    heads = [line.replace(":", " ").split() for line in igmp_file.splitlines()[1:] if not line.startswith("\t")]
    return {device: int(version.lstrip("V")) for _, device, _, version in heads}


def query(mac: str, source: str, *, version: int = 3, code: int = 1) -> bytes:
    """A general query (RFC 3376 section 4.1, RFC 2236 section 2) as a frame; `code` in 1/10 s, 0 in v3 is at once."""
    of_v3 = version > VERSION_2
    asked = layers.IGMPv3_MQ(mrcode=code) if of_v3 else layers.IGMP(type=QUERY, mrcode=code)
    return _frame(mac, source, ALL_HOSTS, asked)


def report(mac: str, source: str, group: str) -> bytes:
    """A v2 membership report (RFC 2236 section 2) as a frame."""
    return _frame(mac, source, group, layers.IGMP(type=V2_REPORT, mrcode=0, gaddr=group))


def _frame(mac: str, source: str, to: str, message: Any) -> bytes:
    alert = layers.IPOption_Router_Alert()
    head = layers.IP(src=source, dst=to, tos=TOS, ttl=TTL, id=0, options=alert)
    return bytes(layers.Ether(src=mac) / head / message)

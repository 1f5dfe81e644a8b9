"""A topology on hosts that a user names: their addresses on the cloud's network, and their subnet on the overlay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, ip_address

from lab import tunnels
from lab.errors import UsageProblem
from lab.model import NodePlan, Topology
from lab.overlay.placement import not_unicast, require_apart, require_suited


@dataclass(frozen=True)
class NamedHost:
    """A host as the user gave it: `web1=10.0.0.25`, or the address alone; or as it is, with its NIC."""

    name: str
    address: str
    nic: str = ""


@dataclass(frozen=True)
class FoundHosts:
    """Live hosts in the order of `--hosts`, the smallest MTU of their NICs, and the cloud that the first one is in."""

    hosts: tuple[NamedHost, ...] = ()
    mtu: int | None = None
    cloud: str = ""


def named(option: str, text: str, over_ipv6: bool) -> list[NamedHost]:
    """The hosts of an option; UsageProblem for what is no address."""
    found = []
    for part in filter(None, (one.strip() for one in text.split(","))):
        name, _, address = part.rpartition("=")
        try:
            version = ip_address(address).version
        except ValueError:
            raise UsageProblem(f"{option}: expected an address, or NAME=ADDRESS; found {part!r}") from None
        if (version == 6) != over_ipv6:
            raise UsageProblem(
                f"{option}: expected IPv{6 if over_ipv6 else 4} addresses for this tunnel; found {address}"
            )
        if why := not_unicast(address):
            raise UsageProblem(f"{option}: expected the hosts' unicast addresses; found {address} ({why})")
        if "/" in name or name in (".", ".."):
            raise UsageProblem(
                f"{option}: expected a name without a slash (the host's folder has this name); found {name!r}"
            )
        found.append(NamedHost(name, address))
    return found


def placed(
    topology: Topology, hosts: Sequence[NamedHost], nic: str, subnet: IPv4Network
) -> tuple[Topology, dict[str, str]]:
    """The topology on these hosts, and their names by their names in it; UsageProblem where two are the same."""
    names = {node.name: host.name or node.name for node, host in zip(topology.nodes, hosts, strict=True)}
    for what, given in (("name", list(names.values())), ("address", [host.address for host in hosts])):
        if twice := [one for one in given if given.count(one) > 1]:
            raise UsageProblem(f"--hub, --spokes: expected each host once; found the {what} {twice[0]!r} twice")
    require_suited(subnet, len(hosts))
    over_ipv6 = tunnels.kind(topology.options.kind).over_ipv6
    nodes = []
    for node, host in zip(topology.nodes, hosts, strict=True):
        number = int(node.overlay.ip) - int(node.overlay.network.network_address)
        overlay = IPv4Interface((int(subnet.network_address) + number, subnet.prefixlen))
        placed_there = _outer(node, host.address, over_ipv6)
        nodes.append(replace(placed_there, nic=host.nic or nic, overlay=overlay))
    topology = replace(topology, nodes=tuple(nodes))
    if not over_ipv6:
        require_apart(topology)
    return topology, names


def _outer(node: NodePlan, address: str, over_ipv6: bool) -> NodePlan:
    if over_ipv6:
        return replace(node, underlay6=IPv6Interface(address))
    return replace(node, underlay=IPv4Interface(address))

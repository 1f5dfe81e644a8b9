"""
The prerequisites of live hosts alone: everything that can be found out in seconds, changing nothing.

    connected = ssh.reach(specs, Login(sudo=True))
    for check in examination.checks(specs, connected): ...
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from lab.checkup import between, crossed, crossing, looking, single
from lab.checkup.check import Check
from lab.checkup.crossing import Place, Way
from lab.checkup.looking import Host
from lab.clouds import Carrier
from lab.errors import OvercastError
from lab.machines.hosts import HostSpec
from lab.machines.ssh import Connected
from lab.model import NodePlan, Topology
from lab.overlay import gretap, ip6gretap
from lab.overlay.carrier import carrier_of
from lab.overlay.understanding import Understood, understand

TIME = 20.0
"""Seconds that everything after the connecting may take, together."""


def checks(specs: Sequence[HostSpec], connected: Connected, kind: str | None = None) -> list[Check]:
    """
    What is as it should be on the hosts, what is not, and what could not be looked at.

    `kind` is the kind of tunnel that the overlay is to have; None: as it is found, gretap where there is none.
    """
    deadline = time.monotonic() + TIME
    looked = looking.look(connected.machines, specs, deadline)
    hosts = {role: found for role, found in looked.items() if isinstance(found, Host)}
    lost = {role: found for role, found in looked.items() if isinstance(found, OvercastError)}
    made = [*_unreached(specs, connected), *(_lost(role, problem) for role, problem in lost.items())]
    understood = _understood(hosts)
    topology = understood.topology
    tunnel = kind or _kind(hosts, topology)
    carrier = carrier_of(tunnel, [host.seen for host in hosts.values()])
    for role, host in hosts.items():
        made += single.checks(host, _plan(topology, role), tunnel, carrier, hub=role == specs[0].role)
    if not hosts:
        return made
    if specs[0].role not in hosts:
        found = "what hosts need of each other was not looked at: an overlay is read from its hub"
        return [*made, Check("warning", between.ALL, "overlay", found)]
    made += between.checks(hosts, topology, understood.findings)
    if tunnel == ip6gretap.KIND:
        found = "not tried over IPv6, which this overlay goes over: the probes are packets of IPv4"
        return [*made, Check("warning", between.ALL, str(carrier), found)]
    ways = list(_ways(hosts, topology, specs[0].role, carrier))
    crossings, late = crossing.cross(ways, deadline)
    made += [_lost(role, problem) for role, problem in late.items()]
    for result in crossings:
        made += crossed.checks(result)
    return [*made, *_unplaced(hosts, topology, carrier)]


def _unreached(specs: Sequence[HostSpec], connected: Connected) -> Iterator[Check]:
    roles = [spec.role for spec in specs if spec.role not in connected.machines]
    for role, failure in zip(roles, connected.failures, strict=True):
        yield Check("problem", role, "host", f"not reached: {failure.message}", failure.remedy, at="")


def _lost(role: str, problem: OvercastError) -> Check:
    return Check("problem", role, "host", problem.message, problem.remedy, at="")


def _understood(hosts: Mapping[str, Host]) -> Understood:
    if "hub" not in hosts or len(hosts) < 2:
        return Understood(None, ())
    return understand({role: host.seen for role, host in hosts.items()})


def _plan(topology: Topology | None, role: str) -> NodePlan | None:
    return next((node for node in topology.nodes if node.name == role), None) if topology else None


def _kind(hosts: Mapping[str, Host], topology: Topology | None) -> str:
    if topology is not None:
        return topology.options.kind
    return next((device.kind for host in hosts.values() for device in host.seen.tunnels()), gretap.KIND)


def _place(host: Host, plan: NodePlan | None) -> Place | None:
    nic = host.seen.devices.get(plan.nic) if plan else host.nic
    address = str(plan.underlay.ip) if plan else host.address
    return Place(host, address, nic.mtu) if nic is not None and address is not None else None


def _ways(hosts: Mapping[str, Host], topology: Topology | None, hub: str, carrier: Carrier) -> Iterator[Way]:
    """Both directions between the hub and every spoke."""
    places = {role: _place(host, _plan(topology, role)) for role, host in hosts.items()}
    centre = places.pop(hub)
    for place in places.values():
        if centre is not None and place is not None:
            yield Way(centre, place, carrier)
            yield Way(place, centre, carrier)


def _unplaced(hosts: Mapping[str, Host], topology: Topology | None, carrier: Carrier) -> Iterator[Check]:
    for role, host in hosts.items():
        if _place(host, _plan(topology, role)) is None:
            found = "not tried: neither a tunnel nor a default route tells its address on the cloud's network"
            yield Check("warning", role, str(carrier), found, "ip route")

"""
A lab: a cloud network, hosts on it, the overlay on them, and the probes.

    lab = laboratory.build(machine, topologies.star(), Underlay(provider("oci")))
    with lab.listen(["hub", "spoke2"]) as heard:
        lab["spoke1"].udp.send(to=lab.everyone)
    heard.exactly_once(at=["hub", "spoke2"])
"""

from __future__ import annotations

import collections
import contextlib
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Interface
from typing import Any

from lab.building import (
    first_frames,
    forwarding,
    overlay_steps,
    require_settled,
    settle_ipv6,
    settle_spanning_tree,
    settling_calls,
    underlay_steps,
)
from lab.errors import EnvironmentProblem, MachineLost, NotApplicable, OvercastError
from lab.host import Host, Udp
from lab.machines.base import Call, Machine
from lab.machines.node import Agent, Node, ask_all, close, in_order, tell_all
from lab.model import NodePlan, Topology, Underlay
from lab.output.steps import STEPS
from lab.overlay import plan as overlay_plan
from lab.probes.capture import sightings
from lab.probes.datagrams import Sent
from lab.probes.deadlines import Lost, Patience
from lab.probes.host_state import neighbour_tables, snooping
from lab.probes.listening import Listening
from lab.stack.changes import link_del
from lab.topology import standby, topologies
from lab.underlay import fabric, netem
from lab.underlay.cloud import Cloud

MOST_ENDED = 16  # listenings that are remembered, for the evidence of a failure
MANY_SPOKES = 12  # with more of them, what they all join and send to fills an ordinary capture at the hub

NOT_ON_THE_OVERLAY = IPv4Interface("0.0.0.0/32")


class Lab:
    """
    Hosts with an overlay, and what can be done with built and live ones alike.  The hosts are items: `lab["hub"]`.

    `BuiltLab` and `live.LiveLab` add what each of them alone has.
    """

    def __init__(self, topology: Topology, underlay: Underlay, nodes: Mapping[str, Node]) -> None:
        self.topology, self.underlay = topology, underlay
        self.nodes = dict(nodes)
        self.plans = topology.plans
        self.ended: collections.deque[Listening] = collections.deque(maxlen=MOST_ENDED)
        """What was listened to since `forget`, the last one last."""
        self._listening: list[Listening] = []
        self.lost = Lost(senders=_senders(topology))
        """What is known to be lost between the hosts of a lab like this one."""
        self.patience = Patience()
        self._forgot_at: int | None = None
        """How many requests there had been when the lab last forgot."""
        self.hosts: dict[str, Host] = {}
        for name, plan in self.plans.items():
            udp = Udp(self.nodes[name], plan, self._announce, self._default_port)
            self.hosts[name] = Host(self.nodes[name], plan, topology, udp, self.hosts, self.lost, self.patience)

    def __getitem__(self, name: str) -> Host:
        """The host of a name; NotApplicable where this lab has no hub or fewer spokes, KeyError for no host's name."""
        if name not in self.hosts and (name == "hub" or name.startswith("spoke")):
            raise NotApplicable(f"requires {name}; this lab has {', '.join(self.hosts)}")
        return self.hosts[name]

    @property
    def hub(self) -> Host:
        return self.hosts[self.topology.hub.name]

    @property
    def hubs(self) -> list[Host]:
        return [self.hosts[plan.name] for plan in self.topology.hubs]

    @property
    def spokes(self) -> list[Host]:
        return [self.hosts[plan.name] for plan in self.topology.spokes]

    @property
    def senders(self) -> list[Host]:
        """The hosts that tests send from: all; of many the hubs, the first two spokes and the last."""
        return [self.hosts[plan.name] for plan in (*self.topology.hubs, *topologies.few(self.topology.spokes))]

    @property
    def tapped(self) -> Sequence[Node]:
        """The nodes whose every interface is captured."""
        return list(self.nodes.values())

    @property
    def everyone(self) -> str:
        """The overlay's directed broadcast address; NotApplicable where the cloud drops it."""
        if self.topology.native:
            raise NotApplicable(f"requires broadcast; the {self.topology.name} topology has only unicast and multicast")
        return self.topology.nodes[0].broadcast()

    def others(self, than: Host | str) -> list[str]:
        """The names of all hosts that one reaches on the overlay, the hub first."""
        return self.topology.reached(than if isinstance(than, str) else than.name)

    def uplink(self, host: Host) -> tuple[Host, str]:
        """Where what a host sends on the overlay comes in next: the first host there, and its device."""
        peer = self.topology.peers(host.name)[0]
        return self.hosts[peer], self.topology.port(peer, host.name)

    def listen(self, at: Iterable[Host | str], **fields: Any) -> Listening:
        """Listens at the hosts for the length of a `with` block (`probes.listening.Listening`)."""
        self._close_ended()
        names = [host if isinstance(host, str) else host.name for host in at]
        listening = Listening(
            {name: self.nodes[name] for name in self.plans},
            self.topology,
            names,
            on_exit=self._ended,
            **{**self._watching(), **fields},
        )
        self._listening.append(listening)
        return listening

    def _watching(self) -> dict[str, Any]:
        """What every listening is given."""
        return {"tapped": self.tapped, "patience": self.patience, "lost": self.lost}

    def forget_ahead(self) -> None:
        """
        A test has ended: what `forget` does is done while the next one is prepared.

        Many hosts get it with what they are asked next; those that were asked nothing have nothing to forget.
        """
        if self._requests() != self._forgot_at:
            tell_all(self._forgetting(), delayed=not in_order(self.nodes.values()))
            self._forgot_at = self._requests()

    def _requests(self) -> int:
        return sum(node.machine.requests for node in self.nodes.values())

    def forget(self, *, ahead: bool = False) -> None:
        """
        A new test begins: the taps forget what they saw, and full tables of neighbours count from now on.

        `ahead`: `forget_ahead` was called after the last one.
        """
        if not ahead:
            ask_all(self._forgetting())
        self._listening.clear()
        self._close_ended()
        self.ended.clear()
        for host in self.hosts.values():
            host.joined.clear()

    def _forgetting(self) -> list[tuple[Node, Call[Any]]]:
        """One request for each machine: in a guest a further request takes longer than its work."""
        return [*sightings.forgetting(self.tapped), *neighbour_tables.noting(self.nodes.values())]

    def frames(self, tags: Sequence[bytes] | None = None) -> list[sightings.Sighting]:
        """
        Every frame that the taps saw since `forget`, in order of kernel time.

        FramesLost if there may have been others: who looks at captures may want to know what is not there.
        """
        return sightings.collect(self.tapped, tags, vxlan_port=self.topology.options.port)

    def _announce(self, sent: Sent) -> None:
        """The innermost listening judges whatever is sent; one around it what goes to its port."""
        STEPS.note("stimulus", f"{sent.node} sends to {sent.to}:{sent.port}; datagrams: {len(sent.payloads)}")
        for listening in self._listening:
            if listening is self._listening[-1] or listening.port == sent.port:
                listening.sent.append(sent)

    def _default_port(self) -> int | None:
        return self._listening[-1].port if self._listening else None

    def _close_ended(self) -> None:
        """What was listened to before is waited for no longer."""
        for listening in self.ended:
            listening.close()

    def _ended(self, listening: Listening) -> None:
        self._listening.remove(listening)
        self.ended.append(listening)


class BuiltLab(Lab):
    """A lab on one machine, with the cloud's network in it.  `nodes` has the fabric and routers, too."""

    def __init__(
        self,
        machine: Machine,
        topology: Topology,
        underlay: Underlay,
        nodes: Mapping[str, Node],
        *,
        overlay: bool = True,
        built_from: Topology | None = None,
    ) -> None:
        super().__init__(topology, underlay, nodes)
        self.machine = machine
        self.has_overlay = overlay
        self.built_from = built_from or topology
        """What it was built from; `topology` is what it is since a fault has changed it (`with_bridges`)."""
        self.closed = False
        self.standby: standby.Standby | None = None

    def __enter__(self) -> BuiltLab:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def fabric(self) -> Node:
        """The cloud network's own node."""
        return self.nodes[fabric.FABRIC]

    @functools.cached_property
    def cloud(self) -> Cloud:
        """The cloud network as its operator changes it."""
        return Cloud(self.fabric, self.topology, self.underlay)

    def _watching(self) -> dict[str, Any]:
        return {**super()._watching(), "on_entry": self._entered}

    def _entered(self, listening: Listening) -> None:
        """A cloud that delivers groups sends to members alone, whose reports may still be on their way."""
        if not self.underlay.provider.groups:
            return
        own = {name: {*host.joined} for name, host in self.hosts.items()}
        for name in listening.at:
            own[name] |= {*listening.joined}
        self.cloud.await_members({name: [*filter(snooping.is_listed, groups)] for name, groups in own.items()})

    def admit(self, name: str, number: int) -> Host:
        """
        A further VM in the first host's subnet, with the host number `number` there: captured, not of the overlay.

        Its datagrams are not judged by a listening: it gives its port.
        """
        network = self.topology.nodes[0].underlay.network
        underlay = IPv4Interface((network.network_address + number, network.prefixlen))
        plan = NodePlan(name, "spoke", underlay, NOT_ON_THE_OVERLAY, device="")
        node = self._new_node(name)
        self.cloud.admit(plan, node)
        udp = Udp(node, plan, lambda sent: None, lambda: None)
        hosts = {**self.hosts}
        known = replace(self.topology, nodes=(*self.topology.nodes, plan))
        lost = self.lost.between(self.topology.centre, self.plans, hosts.keys() | {name})
        hosts[name] = Host(node, plan, known, udp, hosts, lost)
        return hosts[name]

    def without(self, lost: str) -> contextlib.AbstractContextManager[None]:
        """
        A block in which a host is off, or the first spoke's way to its first peer cut (`leg`); no link shows it.

        With `slow` and `lossy` that spoke's first tunnel is impaired (`netem.HOW`).
        """
        first = self.spokes[0].name
        if lost in netem.HOW:
            return netem.impaired(self.nodes[first], self.topology.ports(first)[0], lost)
        if lost == "leg":
            return self.cloud.parted(first, self.topology.peers(first)[0])
        return self.cloud.stopped(lost, self.nodes[lost])

    def stand_by(self, plan: NodePlan) -> None:
        """A standby for the hub: a further VM in its subnet, which VRRP makes the master when the hub is lost."""
        node = self._new_node(plan.name)
        self.cloud.admit(plan, node)
        self.standby = standby.start(self.hub.node, self.topology, plan, node)

    def fail_over(self, api: Callable[[], None]) -> None:
        """The hub's VM is lost; the cloud moves its VNIC to the standby, once that is the master; `api` waits."""
        self.cloud.stop(self.hub.name)
        if self.standby is not None:
            node = self.standby.await_master()
            api()
            self.take_over(self.hub.name, node)

    def take_over(self, name: str, instead: Node | None = None) -> Host:
        """
        Another VM (`instead`, or a new one) in place of a host: it has its VNIC and its part of the overlay now.

        The first one keeps running, without a NIC, as the node `NAME before`.
        """
        plan, node = self.plans[name], instead or self._new_node(name)
        self.cloud.reattach(plan, node)
        udp = Udp(node, plan, self._announce, self._default_port)
        self.hosts[name] = Host(node, plan, self.topology, udp, self.hosts, self.lost, self.patience)
        for listening in self._listening:
            listening.replaced(name, node)
        self.set_up(self.hosts[name])
        return self.hosts[name]

    def set_up(self, host: Host) -> None:
        """A host's part of the overlay, where there is none."""
        host.node.apply(*overlay_plan.changes(self.topology, host.plan))
        host.node.write_sysctls(overlay_plan.sysctls(self.topology, host.plan))

    def take_down(self, host: Host) -> None:
        """A host's devices of the overlay are gone, and all that they had, as after a reboot that restored nothing."""
        host.node.apply(*(link_del(device) for device in self.topology.devices(host.name)))

    def forget_neighbours(self) -> None:
        """
        Every host forgets the neighbours that it found or looked for.

        One that was found hides what has happened to ARP since; one that was not is asked for again a second later.
        """
        ask_all([(host.node, host.node.call(Agent.forget_neighbours)) for host in self.hosts.values()])

    def _new_node(self, name: str) -> Node:
        """A stack of its own, captured from now on; another node of that name is kept as `NAME before`."""
        made = Node.create(self.machine, name)
        if name in self.nodes:
            self.nodes[f"{name} before"] = self.nodes.pop(name)
        node = self.nodes[name] = made[name]
        node.write_sysctls(fabric.QUIET)
        sightings.forget([node])
        return node

    def remake_tunnel(self, at: Host, spoke: Host, **options: Any) -> None:
        """Creates one end of a spoke's tunnel, the one at the hub or at the spoke, again with other options."""
        peer = self.hub.name if at.name == spoke.name else spoke.name
        at.node.apply(*overlay_plan.remade(self.topology, at.plan, peer, **options))

    def close(self) -> None:
        """Drops every namespace of the lab; the kernel removes what is in them."""
        if not self.closed:
            self.closed = True
            self._close_ended()
            self._silence()
            close(self.machine, self.nodes.values())

    def _silence(self) -> None:
        """Removes bonds, which go on asking by ARP while the kernel takes their stack away: a guest's has panicked."""
        for plan in self.topology.nodes if self.has_overlay else ():
            if plan.holder == "bond":
                with contextlib.suppress(OSError, OvercastError):
                    self.nodes[plan.name].apply(link_del(plan.device))


def _senders(topology: Topology) -> dict[tuple[str, str], str]:
    """The host at the other end of each tunnel, by node and device."""
    hops = [hop for tunnel in topology.tunnels for hop in tunnel.hops]
    return {(hop.end.host, hop.end.device): hop.start.host for hop in hops}


def build(
    machine: Machine,
    topology: Topology,
    underlay: Underlay,
    *,
    overlay: bool = True,
    failed: Callable[[BuiltLab], None] = lambda lab: None,
) -> BuiltLab:
    """
    Builds a lab on a machine in one round trip for the namespaces and one for everything in them.

    `overlay` False leaves the hosts as a cloud hands them out.  Whatever fails, nothing is left; `failed` may look at
    what there is before it goes.
    """
    names, spokes = fabric.stacks(topology, underlay), {plan.name for plan in topology.spokes}
    busy = set(names) - spokes if len(spokes) > MANY_SPOKES else ()
    nodes = Node.create(machine, *names, busy=busy)
    lab = BuiltLab(machine, topology, underlay, nodes, overlay=overlay)
    try:
        # neighbour discovery and router solicitations of every new device would only be noise between the probes
        quiet = [node.call(Agent.sysctl_write, values=dict(fabric.QUIET)) for node in nodes.values()]
        plain = [*quiet, *forwarding(underlay, nodes), *underlay_steps(topology, underlay, nodes)]
        # an overlay that sends before the network is up gets no answer to its ARP requests, and retries after 1 s
        settling = settling_calls(topology, underlay, nodes)
        steps = [*overlay_steps(topology, nodes), *first_frames(topology, nodes)] if overlay else []
        speaking = [call for _, call in steps]
        answers = machine.batch([*plain, *(call for _, call in settling), *speaking])
        require_settled([name for name, _ in settling], answers[len(plain) :])
        if overlay and topology.ipv6:
            settle_ipv6(topology, nodes)
        if overlay:
            settle_spanning_tree(topology, nodes)
            if topology.standby:
                lab.stand_by(topology.standby)
    except BaseException as error:
        if isinstance(error, (OSError, EnvironmentProblem)) and not isinstance(error, MachineLost):
            failed(lab)
        lab.close()
        raise
    return lab

"""
A host of the lab as a test uses it: `spoke1.udp.send(to=everyone)`, `hub.ping(everyone)`.

It is the node, its plan, and the probes that start from it.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lab.errors import CheckFailed
from lab.machines.base import Call, Opening
from lab.machines.node import Agent, Node, ask_all
from lab.machines.sockets import Socket, fresh_handle
from lab.model import Network, NodePlan, Topology
from lab.output.steps import STEPS
from lab.probes import options
from lab.probes.datagrams import Sent
from lab.probes.deadlines import Lost, Patience
from lab.probes.host_state import ipv6, membership
from lab.probes.payloads import fresh_port, unique
from lab.probes.ping import echo, echo6

if TYPE_CHECKING:
    from typing_extensions import Unpack  # mypy brings it

TCP_DEADLINE = 2.0  # seconds for a connection on a network where every leg takes microseconds
LINK_LOCAL_DEADLINE = 2.0  # seconds for the kernel to give a device its address


@dataclass(frozen=True)
class Udp:
    """Sends datagrams from one host."""

    node: Node
    plan: NodePlan
    announce: Callable[[Sent], None]
    default_port: Callable[[], int | None]

    def send(
        self,
        payload: bytes | Sequence[bytes] | None = None,
        *,
        to: str,
        port: int | None = None,
        size: int | None = None,
        ttl: int | None = None,
        tos: int | None = None,
        loop: bool | None = None,
        source: str | None = None,
        source_port: int = 0,
        device: str | None = None,
        multicast_interface: str | None = None,
        allow_broadcast: bool = True,
        dont_fragment: bool | None = None,
        wait: bool = False,
        lost_if_refused: bool = False,
    ) -> Sent:
        """
        Sends one datagram, or several from one socket, and returns what was sent.

        Inside a listening it returns at once: a refusal by the kernel is raised, as the OSError that it is, by the next
        request or at the end of the block.  With `wait`, and outside, it is raised here, and the `source` is known.
        With `lost_if_refused` it is noted in what is returned, by the end of the block: the datagram is lost.

        `payload` defaults to a unique one of `size` octets; `port` to that of the listening that is open; `ttl` is
        set for unicast and multicast alike; `source` binds, `device` is SO_BINDTODEVICE (for IPv6 the overlay's,
        by default), `multicast_interface` is IP_MULTICAST_IF.
        """
        payloads = [unique(size)] if payload is None else [payload] if isinstance(payload, bytes) else list(payload)
        is_ipv6 = options.is_ipv6(to)
        if is_ipv6 and multicast_interface is not None:
            raise ValueError("multicast_interface is an IPv4 address; IPv6 leaves by the interface called `device`")
        if is_ipv6:
            device = device or self.plan.interface()
        # 0 is a multicast TTL only: IP_TTL starts at 1
        version = options.IPV6 if is_ipv6 else options.IPV4
        chosen = options.sending(ttl or None, ttl, tos, loop, dont_fragment, version=version)
        chosen += [options.BROADCAST] if allow_broadcast and not is_ipv6 else []
        chosen += [options.multicast_interface(multicast_interface)] if multicast_interface is not None else []
        kind = options.UDP6 if is_ipv6 else options.UDP
        bind = [source or "", source_port] if source or source_port else None
        where = port or self.default_port()
        if where is None:
            raise CheckFailed("udp.send outside of a listening needs a port")
        sending = self.node.call(
            Agent.send_many, payloads, [to, where], **kind, options=chosen, device=device, bind=bind
        )
        naming = f"{self.node.name} cannot send to {to}"
        sent = Sent(self.node.name, tuple(payloads), to, where)
        if wait or self.default_port() is None:
            with _naming(naming):
                ((address, number),) = ask_all([(self.node, sending)])
            sent.source = address, number
        else:
            refused = sent.note if lost_if_refused else functools.partial(_named, naming)
            self.node.machine.tell([sending], refused)
        self.announce(sent)
        return sent


@contextlib.contextmanager
def _naming(what: str) -> Iterator[None]:
    """A kernel's error names the host and the destination."""
    try:
        yield
    except OSError as refusal:
        raise _named(what, refusal) from refusal


def _named(what: str, refusal: OSError) -> OSError:
    why = str(refusal.strerror).removeprefix(f"{what.split()[0]}: ")  # the host, which an agent's own text may name
    return OSError(refusal.errno, f"{what}: {why}") if refusal.errno else refusal


@dataclass(frozen=True)
class Host:
    """One host: what it is (`plan`), what it can be asked (`node`), what starts from it (`udp`, `ping`, `tcp`)."""

    node: Node
    plan: NodePlan
    topology: Topology
    udp: Udp
    hosts: Mapping[str, Host] = field(repr=False, compare=False)
    lost: Lost = field(default_factory=Lost, repr=False, compare=False)
    """What is known to be lost between the hosts, and is not waited for."""
    patience: Patience | None = field(default=None, repr=False, compare=False)
    """For answers that are late."""
    joined: set[str] = field(default_factory=set, repr=False, compare=False)
    """The groups that members have joined since the lab forgot."""
    alone: bool = True
    """Whether the overlay has no further hosts, whose answers are not counted."""

    @property
    def name(self) -> str:
        return self.plan.name

    @property
    def is_hub(self) -> bool:
        return self.plan.is_hub

    @property
    def entry_device(self) -> str:
        """The device that overlay frames enter by: a spoke's tunnel, also as a port of a bridge; the hub's bridge."""
        ports = self.topology.ports(self.name)
        return self.plan.device if self.is_hub or len(ports) != 1 else ports[0]

    def __str__(self) -> str:
        return self.name

    def address(self, network: Network = "overlay") -> str:
        return self.plan.address(network)

    def ping(self, to: str, **fields: Any) -> echo.Answers:
        """One ICMP echo request; the answers counted per node (`probes.echo.ping`, or `echo6.ping` of IPv6)."""
        nodes = {name: host.node for name, host in self.hosts.items()}
        fields = {"nodes": nodes, "lost": self.lost, "patience": self.patience, **fields}
        STEPS.note("stimulus", f"{self.name} pings {to}")
        if not self.alone:
            return replace(self, alone=True).ping(to, **fields).by(self.topology.plans)
        with _naming(f"{self.name} cannot ping {to}"):
            if options.is_ipv6(to):
                return echo6.ping(self.node, self.topology, to, **fields)
            return echo.ping(self.node, self.topology, to, **fields)

    def reaches_by_tcp(self, server: Host, network: Network = "overlay", port: int | None = None) -> bytes:
        """Connects to a server on another host, sends a unique payload and returns what arrived there."""
        STEPS.note("stimulus", f"{self.name} connects to {server.name} by TCP ({network})")
        payload = unique()
        deadline = self.lost.grace_both(TCP_DEADLINE, network, self.name, server.name)
        to = [server.address(network), port or fresh_port()]
        with contextlib.ExitStack() as opened:
            listener = opened.enter_context(Socket.opening(server.node, **options.TCP, bind=to, listen=1))
            client = opened.enter_context(Socket(self.node, fresh_handle()))
            accepted = opened.enter_context(Socket(server.node, fresh_handle()))
            calls: list[tuple[Node, Call[Any]]] = [
                (self.node, self.node.call(Agent.connect, deadline, client.handle, **options.TCP, connect=to)),
                (self.node, client.call(Agent.send, payload)),
                (server.node, listener.call(Agent.accept, deadline, accepted.handle)),
                (server.node, accepted.wait(payload, deadline)),
                (server.node, accepted.take()),
            ]
            with _naming(f"{self.name} cannot connect to {server.name} by TCP on the {network}"):
                *_, (received,) = ask_all(calls)
            return b"".join(part["payload"] for part in received)

    def await_link_local(self, timeout: float = LINK_LOCAL_DEADLINE) -> bool:
        """Waits until the host's overlay device has a usable IPv6 link-local address (again)."""
        return not self.node.ask(Agent.await_entries, "addresses", ipv6.usable(self.plan.device), timeout)

    def member(self) -> membership.Member:
        """A socket that joins and leaves groups, for a `with` block."""
        return membership.Member(self.node, self.plan, self.joined)

    def memberships(self) -> dict[str, frozenset[str]]:
        """The groups that the host is a member of, by device."""
        return membership.memberships(self.node)

    def open_socket(self, **fields: Unpack[Opening]) -> Socket:
        """A socket of its own inside the host, open for a `with` block (`agent.sockets.open_endpoint`)."""
        return Socket.open(self.node, **fields)

    def send_frame(self, device: str, frame: bytes) -> None:
        """Puts one Ethernet frame on a device as it is (packet(7))."""
        STEPS.note("stimulus", f"{self.name} sends a frame of {len(frame)} octets on {device}")
        self.node.ask(Agent.inject, device=device, frame=frame)

    def send_packet(self, packet: bytes | Sequence[bytes], to: str) -> None:
        """Sends an IPv4 packet whose header the caller made, or several (raw(7), IP_HDRINCL)."""
        packets = [packet] if isinstance(packet, bytes) else list(packet)
        STEPS.note("stimulus", f"{self.name} sends {len(packets)} IPv4 packet(s) made by hand to {to}")
        self.node.ask(Agent.send_many, packets, [to, 0], **options.RAW)

"""What the suite has to know of a kind of tunnel: all of it is in the kind's own module."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from lab.model import TunnelOptions
from lab.stack.changes import LinkKind

DF = ("unset", "set", "inherit")
TOS_INHERIT = 1  # no other odd value means that (vxlan_core.c, geneve.c)
"""What a tunnel over UDP does to the outer Don't Fragment bit (ip-link(8): df)."""
UNSPECIFIED = ("0.0.0.0", "::", None)
Options = Mapping[str, Any]
"""The options of a link under the names of ip-link(8)."""


@dataclass(frozen=True)
class TunnelEnd:
    """
    One end of a tunnel as the kernel holds it.

    `ttl` None is `inherit`, and `ttl auto` of VXLAN is the number that the host then takes; `local` None is not pinned.
    """

    kind: str
    remote: str | None
    local: str | None
    ttl: int | None
    tos_inherit: bool = False
    tos: int = 0
    input_key: int | None = None
    output_key: int | None = None
    checksum: tuple[bool, bool] = (False, False)
    sequence: tuple[bool, bool] = (False, False)
    pmtudisc: bool = True
    ignore_df: bool = False
    df: int = 0
    """Of VXLAN and Geneve: an index into `DF`."""
    vni: int | None = None
    port: int | None = None
    link: str | None = None
    encap_limit: int | None = None


class TunnelKind(abc.ABC):
    """A kind of link that carries Ethernet frames from one host to another."""

    name: str
    """As ip-link(8) has it."""
    carrier: Literal["gre", "vxlan", "geneve", "none"]
    """What the cloud has to let pass (`model.Provider`)."""
    protocol: int
    module: str
    """The kernel module that makes such links."""
    least: ClassVar[Mapping[int, bytes]]
    """The attributes without which the kernel makes none (IFLA_INFO_DATA)."""
    port: int | None = None
    """The UDP port, where tunnels have one, and a number that is their own."""
    over_ipv6 = False
    beside: tuple[str, ...] = ()
    """
    Kinds that tests make in addition, where the kernel has them.  Probing loads their modules, which add devices to
    every stack: before there is any, so that none looks changed later.
    """
    drops_own = False
    """A link drops frames from its own MAC address: a broadcast that comes back is seen at the NIC alone."""
    keeps_inheriting = False
    """A link that inherits its TTL goes on inheriting, whatever TTL it is given."""

    @abc.abstractmethod
    def overhead(self, options: TunnelOptions) -> int:
        """Octets between the underlay's MTU and the overlay's."""

    @abc.abstractmethod
    def data(self, local: str, remote: str, nic: str, number: int, options: TunnelOptions) -> LinkKind:
        """One end, from its local and remote address, NIC and number."""

    @abc.abstractmethod
    def words(self, local: str, remote: str, nic: str, number: int, options: TunnelOptions) -> str:
        """The same for ip-link(8), after `type KIND`."""

    @abc.abstractmethod
    def networkd(self, local: str, remote: str, number: int, options: TunnelOptions) -> tuple[str, dict[str, object]]:
        """The same, but for the NIC, for systemd.netdev(5): a section and its settings."""

    @abc.abstractmethod
    def read(self, options: Options, default_ttl: int) -> TunnelEnd:
        """An end as it is, from its options and the TTL that the host takes by default."""


def address(value: Any) -> str | None:
    """An address that is one."""
    return None if value in UNSPECIFIED else str(value)


def outer_data(options: TunnelOptions) -> dict[str, Any]:
    """What VXLAN and Geneve are made with of the outer header."""
    tos = TOS_INHERIT if options.tos_inherit else options.tos or None
    return {"dstport": options.port, "ttl": options.ttl, "tos": tos, "df": options.df or None}


def udp_end(kind: str, remote: str | None, local: str | None, options: Options, default_ttl: int) -> TunnelEnd:
    """An end of VXLAN or Geneve as it is."""
    tos = options.get("tos") or 0
    return TunnelEnd(
        kind=kind,
        remote=remote,
        local=local,
        # vxlan_xmit_one, geneve_xmit_skb: a TTL of 0 is the route's, the host's default; only a flag makes it inherit
        ttl=None if options.get("ttl_inherit") else options.get("ttl") or default_ttl,
        tos_inherit=tos == TOS_INHERIT,
        tos=0 if tos == TOS_INHERIT else tos,
        df=options.get("df") or 0,
        vni=options.get("id"),
        port=options.get("port"),
        link=options.get("link"),
    )


def outer_words(options: TunnelOptions) -> list[str]:
    """The outer TOS and DF of VXLAN and Geneve, as ip-link(8) has them."""
    tos = "inherit" if options.tos_inherit else f"{options.tos:#x}"
    return [
        *([f"tos {tos}"] if options.tos_inherit or options.tos else []),
        *([f"df {DF[options.df]}"] if options.df else []),
    ]

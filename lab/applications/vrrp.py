"""
VRRP (RFC 5798, version 3): keepalived on several hosts, one of which has the virtual address.

Its timers are cut from a second to a tenth, which version 3 allows: a fail-over takes a third of a second.
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Collection, Iterable

from lab.applications.packages import PACKAGES, require
from lab.errors import CheckFailed
from lab.host import Host
from lab.machines import program
from lab.machines.node import Agent, Node, ask_all
from lab.machines.program import Program
from lab.probes.capture import sightings
from lab.probes.capture.sightings import ETHERNET, Sighting

IPV4 = b"\x08\x00"  # as a frame names it
PROTOCOL = 112
GROUP = "224.0.0.18"
TTL = 255
ADVERTISED_EVERY = 0.1
"""Seconds between two advertisements."""
VIRTUAL = 200
"""The virtual address, counted from the start of the overlay's network."""
ELECTED_WITHIN = 5.0
"""Seconds for an election; half a second in practice."""
HEARD_WITHIN = 5.0
"""Seconds for a few advertisements in a row; half a second in practice."""

_CONFIGURATION = """\
global_defs {{
  router_id {name}
  vrrp_version 3{script_user}
}}
vrrp_instance overlay {{
  interface {device}
  state {state}
  virtual_router_id 51
  priority {priority}
  advert_int {every}{unicast}
  virtual_ipaddress {{
    {address}
  }}{notify}
}}
"""
_UNICAST = """
  unicast_src_ip {own}
  unicast_peer {{
    {peer}
  }}"""


def configuration(
    name: str,
    device: str,
    address: str,
    *,
    priority: int,
    every: float = ADVERTISED_EVERY,
    between: tuple[str, str] | None = None,
    master: bool = False,
    notify: str = "",
) -> str:
    """
    What keepalived reads on a host.

    `address` is what the master gets (`192.0.2.253/32 dev lo`), `every` the seconds between two advertisements,
    `between` the host's own address and its peer's if they are sent by unicast, `master` whether it begins as one,
    `notify` a program that the host runs as root when it becomes one.
    """
    return _CONFIGURATION.format(
        name=name,
        device=device,
        address=address,
        priority=priority,
        every=every,
        unicast=_UNICAST.format(own=between[0], peer=between[1]) if between else "",
        state="MASTER" if master else "BACKUP",
        script_user="\n  script_user root" if notify else "",
        notify=f"\n  notify_master {notify}" if notify else "",
    )


def start(node: Node, text: str, *, ready: str = "Entering BACKUP STATE") -> Program:
    """Starts keepalived on a node; returns when it has printed `ready`."""
    # in the foreground, VRRP alone, with its words on standard output and none for syslog
    command = ("keepalived", "-n", "-P", "-D", "-l", "-G", "-f", "/run/keepalived.conf")
    files = {"keepalived.conf": text}
    return program.start(node, *command, package=PACKAGES["keepalived"], files=files, ready=ready)


def virtual_address(host: Host) -> str:
    """The address that the hosts share."""
    return str(host.plan.overlay.network.network_address + VIRTUAL)


def master_down(priority: int) -> float:
    """Seconds without an advertisement after which a router of this priority takes over (RFC 5798 section 6.1)."""
    return 3 * ADVERTISED_EVERY + (256 - priority) * ADVERTISED_EVERY / 256


def take_part(host: Host, priority: int) -> Program:
    """Starts keepalived on the host's overlay device; returns when it is a backup that waits for a master."""
    require("keepalived")
    text = configuration(host.name, host.plan.device, f"{virtual_address(host)}/32", priority=priority)
    return start(host.node, text)


def await_advertisements(master: Host, at: Host, count: int) -> list[Sighting]:
    """
    Waits for advertisements of a master, one after the other, into another host's overlay device; CheckFailed if fewer.

    Those that the taps saw since `Lab.forget` count.
    """
    matching = [
        (12, IPV4),
        (ETHERNET + 8, bytes([TTL, PROTOCOL])),
        (ETHERNET + 12, socket.inet_aton(master.address())),
    ]
    seen = sightings.wait(
        at.node, at.plan.device, matching, tag=socket.inet_aton(GROUP), count=count, timeout=HEARD_WITHIN
    )
    if len(seen) < count:
        raise CheckFailed(
            f"advertisements of {master.name} (TTL {TTL}): expected {count} at {at.name} within {HEARD_WITHIN:g} s, "
            f"saw {len(seen)}",
            remedy=f"tcpdump -vni {at.plan.device} ip proto {PROTOCOL} on {at.name}, and on the hub",
        )
    return seen


def await_owners(among: Iterable[Host], owners: Collection[str], *, within: float = ELECTED_WITHIN) -> None:
    """Waits until exactly these hosts have the virtual address; CheckFailed with who has it after `within` (s)."""
    hosts = list(among)
    address = virtual_address(hosts[0])
    held = [{"local": address}]
    deadline = time.monotonic() + within
    while True:
        for host in hosts:
            left = max(0.0, deadline - time.monotonic())
            host.node.ask(Agent.await_entries, "addresses", held, left, present=host.name in owners)
        # one after the other they may each have been right when they were asked
        asked = [(host.node, host.node.call(Agent.await_entries, "addresses", held, 0.0)) for host in hosts]
        found = {host.name for host, missing in zip(hosts, ask_all(asked), strict=True) if not missing}
        if found == set(owners):
            return
        if time.monotonic() > deadline:
            raise CheckFailed(
                f"the virtual address {address}: expected at {_listed(owners)}, found at {_listed(found)} "
                f"after {within:g} s",
                remedy=f"tcpdump -ni {hosts[0].plan.device} ip proto {PROTOCOL} on every router, and on the hub",
            )


def _listed(names: Collection[str]) -> str:
    return " and ".join(sorted(names)) or "no host"


def patience(priority: int) -> int:
    """How many advertisements of a master a router of this priority lets pass before it is sure to be its backup."""
    return 1 + math.ceil(master_down(priority) / ADVERTISED_EVERY)


def advertisements(seen: list[Sighting]) -> list[Sighting]:
    """The advertisements among what was seen that are not wrapped in a tunnel's frame, in order of time."""
    return [
        sighting
        for sighting in seen
        if sighting.carrier is None and sighting.frame[12:14] == IPV4 and sighting.frame[ETHERNET + 9] == PROTOCOL
    ]

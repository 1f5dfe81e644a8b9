"""
DHCP (RFC 2131): dnsmasq is the server, BusyBox' udhcpc the client.

dnsmasq answers on the overlay device only and serves no DNS; udhcpc gets a lease, prints it and ends without changing
its host's addresses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address

from lab.applications.packages import PACKAGES, require
from lab.errors import CheckFailed
from lab.host import Host
from lab.machines import program
from lab.machines.program import Program
from lab.probes.capture.sightings import ETHERNET, UDP, Sighting

SERVER_PORT, CLIENT_PORT = 67, 68
POOL = (100, 150)
"""The addresses for clients, counted from the start of the overlay's network; the first hosts have those below."""

LEASE_WITHIN = 10.0
"""Seconds; a few milliseconds in practice.  The client sends three requests, a second apart."""
TRIES, PAUSE = 3, 1
DISCOVER, OFFER = 1, 2

_CONFIGURATION = """\
port=0
interface={device}
bind-interfaces
no-resolv
no-hosts
no-ping
dhcp-authoritative
dhcp-leasefile=/run/leases
dhcp-range={first},{last},{netmask},10m
"""
_LEASE = re.compile(r"lease of (\S+) obtained from ([^\s,]+)")
_NOTHING_TO_DO = "/bin/true"  # what udhcpc runs to set up its interface


@dataclass(frozen=True)
class Lease:
    """The address that a client was given, and by which server."""

    address: str
    server: str


def pool(host: Host) -> tuple[str, str]:
    """The first and the last address that a server on this host leases."""
    network = host.plan.overlay.network.network_address
    return str(network + POOL[0]), str(network + POOL[1])


def serve(host: Host) -> Program:
    """Starts dnsmasq on the host's overlay device; returns when it serves."""
    require("dnsmasq", "udhcpc")
    first, last = pool(host)
    text = _CONFIGURATION.format(
        device=host.plan.device, first=first, last=last, netmask=host.plan.overlay.network.netmask
    )
    # -d: in the foreground, as the user that it is, with its words on standard error
    command = ("dnsmasq", "-d", "--log-facility=-", "--conf-file=/run/dnsmasq.conf")
    files = {"dnsmasq.conf": text}
    return program.start(host.node, *command, package=PACKAGES["dnsmasq"], files=files, ready="started, version")


def lease(host: Host, *, broadcast: bool = False) -> Lease:
    """
    Requests an address on the host's overlay device; `broadcast`: with an answer to all (RFC 2131's BROADCAST bit).

    CheckFailed when no server offers one.
    """
    command = ["udhcpc", "-f", "-n", "-q", "-i", host.plan.device, "-s", _NOTHING_TO_DO]
    command += ["-t", str(TRIES), "-T", str(PAUSE), *(["-B"] if broadcast else [])]
    client = program.start(host.node, *command, package=PACKAGES["udhcpc"])
    try:
        said = client.await_output("lease of", within=LEASE_WITHIN)
        if "obtained" not in said:
            said = client.await_output("\n", within=LEASE_WITHIN)
    finally:
        client.stop()
    given = _LEASE.search(said)
    if given is None:
        raise CheckFailed(f"udhcpc on {host.name} has no lease; output: {said.strip()}")
    return Lease(given[1], given[2])


@dataclass(frozen=True)
class DhcpMessage:
    """One DHCP message where it was seen, outside or inside of a tunnel's frame."""

    sighting: Sighting
    source: str
    destination: str
    kind: int


def bare(seen: list[Sighting]) -> list[DhcpMessage]:
    """The DHCP messages among what was seen that are not wrapped in a tunnel's frame, in order of time."""
    found = []
    for sighting in seen:
        if sighting.carrier is None and (message := _message(sighting)):
            found.append(message)
    return found


def _message(sighting: Sighting) -> DhcpMessage | None:
    ip = sighting.frame[ETHERNET:]
    header = (ip[0] & 0x0F) * 4 if ip else 0
    if sighting.frame[12:14] != b"\x08\x00" or ip[9] != UDP:
        return None
    ports = {int.from_bytes(ip[header + at : header + at + 2], "big") for at in (0, 2)}
    if not ports <= {SERVER_PORT, CLIENT_PORT}:
        return None
    # its first option is its kind, in every client and server that there is (RFC 2132 section 9.6)
    options = ip[header + 8 + 240 :]
    kind = options[2] if options[:2] == b"\x35\x01" else 0
    return DhcpMessage(sighting, str(IPv4Address(ip[12:16])), str(IPv4Address(ip[16:20])), kind)

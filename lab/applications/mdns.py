"""
Multicast DNS (RFC 6762): avahi-daemon answers for the name of its host.

It runs without D-Bus, which only programs of its own host would need to ask it.  Others ask by multicast, here as a
one-shot query (section 5.1), whose answer comes back to the one who asked and repeats the number of the question.
"""

from __future__ import annotations

import secrets
import socket
import struct
from typing import Any

from lab.applications.packages import PACKAGES, require
from lab.errors import CheckFailed
from lab.host import Host
from lab.machines import program
from lab.machines.base import Agent, Call
from lab.machines.program import Program
from lab.probes import options
from lab.probes.capture import sightings
from lab.probes.capture.sightings import ETHERNET, Sighting

GROUP, PORT, TTL = "224.0.0.251", 5353, 255
HEARD_WITHIN = 3.0
"""Seconds for an announcement or an answer; milliseconds in practice."""
_A, _IN = 1, 1  # type and class of the record of a host's IPv4 address (RFC 1035)
_AUTHORITATIVE = b"\x84\x00"  # the flags of every answer (RFC 6762 section 18); a probe for a name has none

_CONFIGURATION = """\
[server]
host-name={name}
allow-interfaces={device}
use-ipv4=yes
use-ipv6=no
enable-dbus=no
[wide-area]
enable-wide-area=no
[publish]
publish-hinfo=no
publish-workstation=no
"""

# Avahi's directory belongs to its user, which an ordinary user's namespaces do not have: there it is root's.
_USERS = "root:x:0:0::/:/bin/sh\navahi:x:0:0::/:/bin/sh\n"
_GROUPS = "root:x:0:\navahi:x:0:\n"


def publish(host: Host, name: str) -> Program:
    """Starts avahi-daemon, which answers for `name`.local on the overlay device; returns when the name is its own."""
    require("avahi-daemon")
    text = _CONFIGURATION.format(name=name, device=host.plan.device)
    command = ("avahi-daemon", "--no-drop-root", "--no-chroot", "--no-rlimits", "-f", "/run/avahi.conf")
    files = {"avahi.conf": text, "/etc/passwd": _USERS, "/etc/group": _GROUPS}
    return program.start(
        host.node, *command, package=PACKAGES["avahi-daemon"], files=files, ready="Server startup complete"
    )


def announcement(at: Host, name: str, publisher: Host) -> Sighting:
    """The first frame into a host's overlay device that announces the publisher's name; CheckFailed if none."""
    matching = [
        (12, b"\x08\x00"),
        (ETHERNET + 12, socket.inet_aton(publisher.address())),
        (ETHERNET + 16, socket.inet_aton(GROUP)),
        (ETHERNET + 30, _AUTHORITATIVE),
    ]
    seen = sightings.wait(at.node, at.plan.device, matching, tag=_encoded(name), count=1, timeout=HEARD_WITHIN)
    if not seen:
        raise CheckFailed(
            f"{at.name} received no announcement of {name}.local from {publisher.name} within {HEARD_WITHIN:g} s",
            remedy=f"tcpdump -ni {at.plan.device} udp port {PORT} on {at.name}, and on the hub",
        )
    return seen[0]


def find(host: Host, name: str) -> str:
    """The address of `name`.local, resolved from this host; CheckFailed when no host answers."""
    number = secrets.token_bytes(2)
    question = _encoded(name) + struct.pack("!HH", _A, _IN)
    query = number + struct.pack("!5H", 0, 1, 0, 0, 0) + question
    chosen = [options.multicast_interface(host.address()), *options.sending(multicast_ttl=TTL)]
    with host.open_socket(**options.UDP, options=chosen, bind=[host.address(), 0]) as asking:
        sending = asking.call(Agent.send, query, [GROUP, PORT])
        calls: list[Call[Any]] = [sending, asking.wait(question, HEARD_WITHIN), asking.take()]
        _, _, (received,) = host.node.machine.batch(calls)
    answers = [one["payload"] for one in received if one["payload"][:2] == number]
    if not answers:
        raise CheckFailed(
            f"{host.name} queried {name}.local by multicast; no host answered within {HEARD_WITHIN:g} s",
            remedy=f"tcpdump -ni {host.plan.device} udp port {PORT} on {host.name}, and on the hub",
        )
    return socket.inet_ntoa(answers[0][-4:])  # the address is the last of the last record


def _encoded(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in (name, "local")) + b"\0"

"""
The codes of findings: what each one means, what corrects it, which packets it can lose, which settings it is, as data.

The texts live in `codes.json`, so that they can be read and reviewed without Python.  The tables of
docs/troubleshooting.md are generated from them (`reports.findings`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from lab.firewall.matches import PacketPattern
from lab.model import Finding
from lab.probes.capture.paths import Stage

OF_OTHER_FINDINGS = "PRE-14"
"""The requirement that a finding breaks whose code has none of its own."""
FILE = Path(__file__).with_name("codes.json")
Mark = Literal[
    "nothing",  # it loses no datagram, or none of those that a trial sends
    "lets-through",  # of these: it may still be why order or sending are not as they should be
    "pings",  # of these: it keeps hosts from answering pings
    "groups",  # it loses what is sent to groups alone
    "neighbours",  # at a NIC: it loses tunnel packets, whatever is in them
    "kernel",  # it is wrong with a kernel that other hosts may share: any packet is lost by it, wherever it is
    "routers",  # it loses packets between hosts, at a router that is not captured
    "received",  # at an overlay device: it loses what its host receives, not what the host sends
    "sent",  # it loses what its host sends, anywhere on its path
    "arriving",  # it is wrong with what its host sends, and loses it where it is received
    "passed-on",  # it changes what passes its host, which is lost there or at any later place
    "astray",  # it also leads unicast of any host astray: it is lost where it does not belong
    "late",  # it also delivers late what a trial no longer waits for at the receiver
    "pruning",  # it also loses, at a hub, what is sent to groups
    "twice",  # it brings packets twice, wherever they come from and go to
]
"""What else decides which packets a finding can lose (`effects`)."""


@dataclass(frozen=True)
class Setting:
    """A setting under which no overlay works: its name, and which of its values are wrong; by default all but one."""

    of: Literal["kernel", "bridge", "bond", "port", "cloud port"]
    """`kernel`: a parameter (ip-sysctl.rst), else an option of ip-link(8) or a flag of bridge(8)."""
    name: str
    """With `{}` in the place of a device."""
    usual: int = 0
    """The kernel's own value, which the fix sets."""
    least: int | None = None
    most: int | None = None
    bits: int = 0
    """Those that must not be set, if only they count."""
    on: tuple[str, ...] = ()
    """Which devices: the overlay's `device`, the `nic`, or the kernel's own name for all of them."""
    counts: tuple[str, ...] = ()
    """The conditions on which it counts (`rules.host.settings`)."""
    fix: str = ""
    """Of the kernel: what has to be set in addition; of a port: the command, if it is not one of bridge(8)."""
    code: str = ""

    def wrong(self, value: int) -> bool:
        """Whether an overlay does not work with a value."""
        if self.bits:
            return bool(value & self.bits)
        if self.least is None and self.most is None:
            return value != self.usual
        return (self.least is not None and value < self.least) or (self.most is not None and value > self.most)

    def flag(self, device: str) -> str:
        """The command that corrects a flag of a port."""
        command = self.fix or "bridge link set dev {device} {name} {value}"
        return command.format(device=device, name=self.name, value="on" if self.usual else "off")


@dataclass(frozen=True)
class Dropped:
    """A packet that no rule may drop that names one of its fields, whatever else the trial sends."""

    packet: PacketPattern
    field: str
    accept: tuple[str, str]
    """What has to be accepted, in the words of iptables and of nft."""
    of: Literal["application", "underlay", "any"] = "application"
    """`application`: only what comes in on the overlay counts; `underlay`: the finding is at the NIC."""


@dataclass(frozen=True)
class Code:
    """What a code means, and the kind of command that corrects it."""

    means: str
    """Of a parameter or a port: what it does; a finding has it behind its name."""
    fix: str = ""
    found: str = ""
    """The evidence of a finding, with `{node}`, `{device}` and the values that its rule gives it."""
    run: str = ""
    """The command that corrects it, with the same."""
    stages: tuple[Stage, ...] | None = None
    """The only stages of a packet's path at which it can be lost by this; None: any."""
    kinds: tuple[str, ...] | None = None
    """The only kinds of exchanges that this loses; None: any."""
    marks: frozenset[Mark] = frozenset()
    settings: tuple[Setting, ...] = ()
    """The settings with which a host has this finding."""
    dropped: Dropped | None = None
    requirements: tuple[str, ...] = ()
    """The requirements that it breaks by itself, whatever is delivered; empty: `OF_OTHER_FINDINGS`."""


@dataclass(frozen=True)
class Section:
    """Codes that have one table in the document."""

    title: str
    codes: Mapping[str, Code]
    about: str = ""


SECTIONS = msgspec.json.decode(FILE.read_bytes(), type=tuple[Section, ...])
CODES: Mapping[str, Code] = {code: each for section in SECTIONS for code, each in section.codes.items()}
SETTINGS = tuple(replace(one, code=code) for code, each in CODES.items() for one in each.settings)


def wrong(of: str, values: Callable[[str], Any]) -> Iterator[tuple[Setting, Any]]:
    """The settings of one sort of device, of those that it has, under whose values no overlay works."""
    for one in SETTINGS:
        value = values(one.name) if one.of == of else None
        if value is not None and one.wrong(int(value)):
            yield one, value


def declared(
    code: str, node: str, interface: str, evidence: str | None = None, fix: str | None = None, **values: object
) -> Finding:
    """A finding in the words of its code: its evidence and its command too, unless they are given."""
    texts, given = CODES[code], {"node": node, "device": interface, **values}
    evidence = texts.found.format(**given) if evidence is None else evidence
    fix = texts.run.format(**given) if fix is None else fix
    means = texts.means.removeprefix("in a lab: ")  # where a code applies is for the tables
    place = node if interface in ("", node) else f"{node} {interface}"
    return Finding(code, node, interface, f"{place}: {means}", evidence, fix)


def broken_by(finding: Finding) -> tuple[str, ...]:
    """The requirements that a finding breaks, whatever a test sees."""
    own = CODES[finding.code].requirements if finding.code in CODES else ()
    return own or (OF_OTHER_FINDINGS,)


def has(finding: Finding, mark: Mark) -> bool:
    """Whether the code of a finding has a mark."""
    return finding.code in CODES and mark in CODES[finding.code].marks

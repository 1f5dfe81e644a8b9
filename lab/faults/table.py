"""
Faults as a table: one record each, with the commands as they are typed on a host.

    hub-port-down: the hub's tunnel to one spoke is down
        # why, where that is not obvious
        hub: ip link set {port} down
        red: FAULT-04 HUB-02; green: ICMP-01; finding: tunnel-down at hub {port}; tunnels: gretap; spokes: 2; fix: none

A command is run on the hub, on `spoke` (the last one), `spoke1`, `unsampled`, `all` hosts, or in the `cloud`; in braces
stand the names of `places`.  `tunnels: gretap` are those of faults that take what a guest's kernel has, and this one
may lack.  `topology: mesh` is the design that is broken; without, it is any with a hub.  `fix: none`: no command on a
host corrects it.  The order of fields is free, and they may take several lines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.faults.actions import run, shell
from lab.faults.fault import ExpectedFinding, Fault, Inject, Locate
from lab.faults.places import WHO, device, names_in_cloud
from lab.laboratory import BuiltLab
from lab.underlay.fabric import FABRIC

ALL, CLOUD, STANDBY = "all", "cloud", "standby"


def read(text: str, made: Mapping[str, Inject] | None = None) -> tuple[Fault, ...]:
    """The faults of a table; `made` has what breaks a lab by more than commands, by the fault's name."""
    records: list[list[str]] = []
    for line in text.splitlines():
        if line and not line.startswith(" "):
            records.append([line])
        elif line.strip() and not line.lstrip().startswith("#"):
            records[-1].append(line)
    left = dict(made or {})
    found = tuple(_fault(*[" ".join(line.split()) for line in record], made=left) for record in records)
    if left:
        raise ValueError(f"no record for {', '.join(left)}")
    return found


def _fault(head: str, *lines: str, made: dict[str, Inject]) -> Fault:
    name, _, what = head.partition(": ")
    commands: dict[str, list[str]] = {}
    fields: dict[str, str] = {}
    for line in lines:
        who, _, command = line.partition(": ")
        if who in (*WHO, ALL, CLOUD):
            commands.setdefault(who, []).append(command)
        else:
            fields |= dict(field.split(": ", 1) for field in line.split("; "))
    code, _, at = fields.pop("finding").partition(" at ")
    fault = Fault(
        name,
        what,
        tuple(fields.pop("red").split()),
        _typed(commands) if commands else made.pop(name),
        tuple(fields.pop("tunnels", "gretap vxlan").split()),
        tuple(fields.pop("green", "").split()),
        ExpectedFinding(code, _place(at)),
        fixable=fields.pop("fix", "") != "none",
        spokes=int(fields.pop("spokes", "1")),
        topology=fields.pop("topology", ""),
    )
    if fields:
        raise ValueError(f"fault {name}: unknown {', '.join(fields)}")
    return fault


def _typed(commands: Mapping[str, Sequence[str]]) -> Inject:
    """Commands that were run on hosts or in the cloud."""

    def inject(lab: BuiltLab) -> None:
        for who, each in commands.items():
            if who == CLOUD:
                for command in each:
                    shell(lab.fabric, command.format(**names_in_cloud(lab)))
                continue
            for host in lab.hosts.values() if who == ALL else [WHO[who](lab)]:
                run(lab, host, each)

    return inject


def _place(at: str) -> Locate:
    """`hub {port}`, `spoke` where no interface is compared, `cloud {spoke}`."""
    who, _, interface = at.partition(" ")
    if who == CLOUD:
        return lambda lab: (FABRIC, interface.format(**names_in_cloud(lab)))
    if who == STANDBY:
        return lambda lab: (STANDBY, interface)
    return device(WHO[who], interface)

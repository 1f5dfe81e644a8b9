"""What `overcast plan --hosts=` takes from live hosts: their addresses, their NICs and the cloud; nothing changes."""

from __future__ import annotations

import argparse
import time

from lab.boot.hosts import FoundHosts, NamedHost
from lab.checkup import examination, live_host
from lab.clouds import firmware
from lab.errors import EnvironmentProblem
from lab.machines.live import hosts, ssh
from lab.machines.live.ssh_link import Login


def read(arguments: argparse.Namespace) -> FoundHosts:
    """EnvironmentProblem for an unreachable host, or one whose address on the cloud's network is unknown."""
    specs = hosts.parse(arguments.hosts)
    connected = ssh.reach(specs, Login(arguments.ssh_config, arguments.ssh_identity_file, arguments.sudo))
    try:
        connected.all()
        looked, refused = live_host.look(connected.machines, specs, time.monotonic() + examination.TIME)
    finally:
        connected.close()
    found = []
    for spec in specs:
        if spec.role in refused:
            raise refused[spec.role]
        host = looked[spec.role]
        if host.nic is None or host.address is None:
            raise EnvironmentProblem(
                f"{spec.text}: its address on the cloud's network cannot be detected: it has no default route",
                remedy="give the addresses: --hub=NAME=ADDRESS --spokes=NAME=ADDRESS,...",
            )
        found.append(NamedHost(spec.host, host.address, host.nic.name))
    sighted = firmware.detect(looked[specs[0].role].details["dmi"])
    mtus = [host.nic.mtu for host in looked.values() if host.nic]
    return FoundHosts(tuple(found), min(mtus), sighted.provider.name if sighted else "")

"""
Live hosts that are machines: three guests, each a kernel of its own, on the emulated cloud network.

                                  tap
    controller ── vcn 10.0.0.1 ──┬── ens3 of a guest: hub     10.0.0.197, sshd
     (`entered`)                 ├── ens3 of a guest: spoke1  10.0.0.25,  sshd
                                 └── ens3 of a guest: spoke2  10.0.0.131, sshd

The cloud network is the lab's own (`lab.underlay.fabric`): at the ports of its hosts there are guests instead, as a
hypervisor plugs a VM in.  ssh reaches a guest over that NIC alone.  A guest also has a console (`Guest.console`),
by which tests set it up and look at it.  Everything dies with the process that made it, also by SIGKILL.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import execnet
import pytest

from lab import laboratory
from lab.clouds.providers import provider
from lab.host import Host
from lab.laboratory import Lab
from lab.machines import choose
from lab.machines.guests import guest, uml
from lab.machines.node import Agent
from lab.model import Topology, Underlay
from lab.stack.changes import bridge_port, fdb_replace, link_del, link_set
from lab.underlay import fabric
from selftests.live import guest_side, rig
from selftests.live.provision.runs import LOOKS, TIMERS
from selftests.machines.guests import Family

MEMORY = "128M"
ANSWER = 60.0  # seconds; a guest on a busy machine may take long to run a dozen programs
SETTLE = 10.0  # seconds for the ports to carry; in practice none
AGAIN = 0.2  # seconds between two looks at what is to become as it was

NETWORK = """
for some in all default vec0; do echo 0 >/proc/sys/net/ipv6/conf/$some/accept_dad; done
ip link set vec0 name {nic}
sysctl -q -w net.ipv6.conf.{nic}.accept_dad=0
ip link set lo up
ip link set {nic} up
ip addr add {address} dev {nic}
ip route add default via {gateway} dev {nic}
"""
"""No duplicate address detection: an address that is being tried for a second is no state to compare with."""

LEARNS = ("bridge", "fdb")
QUESTIONS = (
    *(look for look in LOOKS if look != LEARNS),
    # what a bridge has learned from the traffic, it forgets by itself
    ("sh", "-c", "bridge fdb | grep -e permanent -e static"),
    ("ip", "neigh", "show", "nud", "permanent"),
    ("ip", "maddr"),
)

State = Mapping[str, Mapping[str, str]]
"""By host and question."""


def missing() -> str | None:
    """Why no guests can be had here, with what brings them; None when they can."""
    if lack := rig.missing():
        return lack
    if not Path("/dev/net/tun").exists():
        return "this kernel or container has no /dev/net/tun"
    if lack := guest.available():
        return str(lack)
    return None


@dataclass
class Guest:
    """One VM."""

    name: str
    address: str
    stack: Path
    """The network namespace from which a controller reaches it."""
    booting: guest.Booting
    _channel: Any = field(init=False, default=None)

    @property
    def address_in_stack(self) -> str:
        """Its address there."""
        return self.address

    def connect(self, group: execnet.Group) -> None:
        """Waits for its console."""
        gateway = self.booting.gateway(group, f"{self.name} {self.booting.pid}")
        self._channel = gateway.remote_exec(guest_side)

    def console(self, verb: str, argument: Any = None) -> Any:
        """A verb of `guest_side`: `run` takes a shell script and gives its output."""
        self._channel.send((verb, argument))
        worked, answer = self._channel.receive(ANSWER)
        assert worked, f"{self.name}: {answer}"
        return answer


class GuestsRig(rig.Rig):
    """Guests at the ports of a lab that has no overlay; its own nodes have no NIC any more."""

    hosts: dict[str, Guest]  # type: ignore[assignment]

    def __init__(self, lab: Lab, directory: Path) -> None:
        self._group = execnet.Group()
        super().__init__(lab, directory)

    def _start_hosts(self) -> None:
        cpus = sorted(os.sched_getaffinity(0))
        try:
            for number, (name, host) in enumerate(self.lab.hosts.items()):
                self.hosts[name] = self._boot(host, cpus[number % len(cpus)])
            for made in self.hosts.values():
                made.connect(self._group)
            self._of_all(lambda made: made.console("furnish", self._settings(made)))
            ports = [self.lab.cloud.port_of(name) for name in self.hosts]
            down = self.lab.fabric.ask(Agent.settle, devices=ports, timeout=SETTLE)
            assert not down, f"ports without a carrier: {down}"
        except BaseException:
            self.close()
            raise

    def _boot(self, host: Host, cpu: int) -> Guest:
        port, mac, mtu = self.lab.cloud.port_of(host.name), host.plan.underlay_mac, self.lab.underlay.provider.mtu
        self._plug_in_a_tap(port, mac)
        plugged = f"vec0:transport=tap,ifname={port},mac={mac},mtu={mtu},depth=64,gro=1"
        with self.entered():
            # as a cloud's image has it: every other module is loaded when it is asked for
            booting = guest.Booting(
                memory=MEMORY, cpu=cpu, modules=("ipv6",), kernel_arguments=(*uml.FAST_BOOT, plugged)
            )
        return Guest(host.name, str(host.plan.underlay.ip), self.controller, booting)

    def _plug_in_a_tap(self, device: str, mac: str) -> None:
        """Where the cable to a node was, with the same rules of the cloud's."""
        network = self.lab.fabric
        (segment,) = fabric.segments(self.lab.topology, self.lab.underlay)
        (port,) = (port for port in segment.ports if port.device == device)
        network.apply(link_del(device))
        made = network.run("ip", "tuntap", "add", "dev", device, "mode", "tap")
        assert made["status"] == 0, made
        provider = self.lab.underlay.provider
        network.apply(
            link_set(device, master=segment.bridge, mtu=provider.mtu, up=True),
            bridge_port(device=device, **fabric.REFUSALS),
            fdb_replace(device, mac),
            fabric.port_filter(port, provider),
        )

    def _settings(self, made: Guest) -> Mapping[str, Any]:
        plan = self.lab.plans[made.name]
        gateway = plan.underlay.network.network_address + 1
        network = NETWORK.format(nic=plan.nic, address=plan.underlay, gateway=gateway)
        pack = ["tar", "-cf", "-", "-C", str(self.directory), "."]
        files = subprocess.run(pack, stdout=subprocess.PIPE, check=True).stdout
        return {"files": files, "name": made.name, "network": network, "sshd": rig.SSHD}

    def _of_all(self, question: Callable[[Guest], Any]) -> dict[str, Any]:
        """An answer of every guest, asked at the same time."""
        with ThreadPoolExecutor(len(self.hosts)) as pool:
            return dict(zip(self.hosts, pool.map(question, self.hosts.values()), strict=True))

    def state(self) -> State:
        """What every guest's own tools say about it."""
        answered = self._of_all(lambda made: made.console("state", QUESTIONS))
        return {
            host: {question: TIMERS.sub("", text) for question, text in answers.items()}
            for host, answers in answered.items()
        }

    def differences(self, before: State, within: float) -> list[str]:
        """
        The lines, by host and question, that are not as before.

        What ends by itself, a process whose connection was cut, say, gets `within` seconds to be gone.
        """
        deadline = time.monotonic() + within
        while lines := _differences(before, self.state()):
            if time.monotonic() > deadline:
                break
            time.sleep(AGAIN)
        return lines

    def close(self) -> None:
        if self.hosts:
            self._of_all(lambda made: made.booting.close())
        self._group.terminate(timeout=1.0)


def _differences(before: State, after: State) -> list[str]:
    lines = []
    for host, answers in before.items():
        for question, text in answers.items():
            was, now = text.splitlines(), after[host][question].splitlines()
            lines += [f"{host}: {question}: - {line}" for line in was if line not in now]
            lines += [f"{host}: {question}: + {line}" for line in now if line not in was]
    return lines


@contextlib.contextmanager
def booted(directory: Path, topology: Topology) -> Iterator[GuestsRig]:
    """Machines as their cloud hands them out, one for each host of a topology, for the length of a block."""
    if lack := missing():
        pytest.skip(lack)
    starting = choose.start(choose.Choice("local", "the cloud network needs no tunnels"), execnet.Group())
    lab = laboratory.build(starting.machine(), topology, Underlay(provider("oci")), overlay=False)
    made = GuestsRig(lab, directory)
    families = [Family(host.booting.pid) for host in made.hosts.values()]
    try:
        yield made
    finally:
        made.close()
        starting.close()
    for family in families:
        family.await_end()

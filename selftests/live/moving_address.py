"""
A hub and its standby on the hosts of a rig: keepalived on both, and a cloud whose API moves the hub's address.

    hub 10.0.0.197 ens3 [10.0.0.200] --VRRP, unicast--> spoke1 10.0.0.25 ens3        virtual_ipaddress 10.0.0.200
    spoke1 is the master --notify_master--> curl http://10.0.0.1:8080/... --> the cloud: 10.0.0.200 is at spoke1's port

The API answers once `grant` has moved the address; the cloud then announces it to the hosts of the subnet by ARP.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from scapy.layers.l2 import ARP, Ether

from lab.applications.vrrp import configuration
from lab.machines.node import Agent
from lab.model import mac_of
from lab.underlay import fabric, policy
from selftests.live.rig import Rig

ADDRESS = IPv4Address("10.0.0.200")
"""The one that moves."""
WITHIN = 20.0  # seconds until VRRP or the cloud has done what it is to do; half a second in practice
PATH = "/privateIps/10.0.0.200/vnic/"
FOLDER = "run/keepalived"
TAKE = "#!/bin/sh\nexec curl --silent --show-error --fail --max-time 60 --request PUT http://{at}:{port}{path}{name}\n"


@dataclass(frozen=True)
class OwnSources(policy.CloudRule):
    """The source check of a VNIC that has two addresses."""

    second: int = 0

    def steps(self) -> list[policy.BpfStep]:
        load = (self.load, 0, 0, self.offset)
        return [load, (self.test, 2, 0, self.value), (self.test, 1, 0, self.second), policy.DROP]


@dataclass(frozen=True)
class Request:
    """A host requests the address from the cloud; it waits for the answer."""

    host: str
    granted: threading.Event = field(default_factory=threading.Event)


class Server(ThreadingHTTPServer):
    """The API: requests in the order in which they came."""

    daemon_threads = True
    requests: queue.Queue[Request]


class Handler(BaseHTTPRequestHandler):
    """PUT /privateIps/ADDRESS/vnic/HOST."""

    server: Server

    def do_PUT(self) -> None:
        request = Request(self.path.removeprefix(PATH))
        self.server.requests.put(request)
        granted = request.granted.wait(WITHIN)
        self.send_response(200 if granted else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        """Print nothing."""


class AddressApi:
    """The cloud's side: which host has the address."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.owner = ""
        self._gateway = str(rig.lab.hub.plan.underlay.network.network_address + 1)
        with rig.entered():
            self._server = Server((self._gateway, 0), Handler)
        self._server.requests = queue.Queue()
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def at(self) -> tuple[str, int]:
        """The API's address and port."""
        return self._gateway, self._server.server_address[1]

    def await_request(self, host: str) -> Request:
        """The next request, which must be this host's."""
        request = self._server.requests.get(timeout=WITHIN)
        assert request.host == host
        return request

    def grant(self, host: str, delay: Callable[[], object] = lambda: None) -> None:
        """Waits for a host's request; after the delay its port has the address, and no other port accepts it."""
        request = self.await_request(host)
        delay()
        self.move(host)
        request.granted.set()

    def move(self, host: str) -> None:
        """The address is at a host's port: the cloud answers ARP by its MAC, and announces it to the other hosts."""
        lab = self._rig.lab
        first = lab.plans[host].underlay.ip
        if self.owner:
            lab.cloud.set_rules(self.owner)
        own = OwnSources(policy.LOAD_WORD, policy.IP_SOURCE, policy.JUMP_EQUAL, int(first), second=int(ADDRESS))
        lab.cloud.set_rules(host, own, source_check=False)
        lab.cloud.assign(host, ADDRESS)
        self.owner = host
        for name, plan in lab.plans.items():
            if name != host:
                lab.fabric.ask(Agent.inject, device=fabric.FABRIC, frame=_announced(first, plan.underlay.ip))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        if self.owner:
            self._rig.lab.cloud.set_rules(self.owner)


def _announced(own: IPv4Address, to: IPv4Address) -> bytes:
    """A gratuitous ARP reply for the address: it is at the MAC of the NIC that has `own`, which is its target, too."""
    mac = mac_of(own)
    reply = ARP(op="is-at", hwsrc=mac, psrc=str(ADDRESS), hwdst=mac, pdst=str(ADDRESS))
    return bytes(Ether(src=mac, dst=mac_of(to)) / reply)


@dataclass(frozen=True)
class Pair:
    """The hub and its standby, with keepalived on both and the cloud's API."""

    rig: Rig
    api: AddressApi
    names: tuple[str, str]
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Starts keepalived on a host; with `names[0]` first, that is the master."""
        lab, host = self.rig.lab, self.rig.hosts[name]
        (peer,) = (one for one in self.names if one != name)
        folder = self._folder(name)
        folder.mkdir(parents=True)
        at, port = self.api.at
        (folder / "take_address").write_text(TAKE.format(at=at, port=port, path=PATH, name=name))
        (folder / "take_address").chmod(0o755)
        text = configuration(
            name,
            "ens3",
            f"{ADDRESS}/32 dev ens3",
            priority=200 if name == self.names[0] else 100,
            between=(lab.plans[name].address("underlay"), lab.plans[peer].address("underlay")),
            notify=f"/{FOLDER}/take_address",
        )
        (folder / "keepalived.conf").write_text(text)
        into = ("nsenter", f"--target={host.init}", "--mount", "--pid", "--net", "--uts")
        options = f"--dont-fork --vrrp --log-console --no-syslog --use-file=/{FOLDER}/keepalived.conf"
        command = f"exec keepalived {options} >/{FOLDER}/log 2>&1"
        self.running[name] = subprocess.Popen([*into, "sh", "-c", command], stdin=subprocess.DEVNULL)

    def stop(self, name: str) -> None:
        """Ends keepalived on a host, which takes the address from its NIC; its files are removed."""
        entered = self.running.pop(name)
        (pid,) = Path(f"/proc/{entered.pid}/task/{entered.pid}/children").read_text().split()
        os.kill(int(pid), signal.SIGTERM)
        entered.wait(WITHIN)
        shutil.rmtree(self._folder(name))

    def await_address(self, name: str, *, present: bool = True) -> None:
        """Waits until a host has the address on its NIC, or has it no longer."""
        wanted = [{"local": str(ADDRESS), "dev": "ens3"}]
        missing = self.rig.lab.nodes[name].ask(Agent.await_entries, "addresses", wanted, WITHIN, present=present)
        assert not missing, f"{name}: {self.log(name)}"

    def log(self, name: str) -> str:
        return (self._folder(name) / "log").read_text()

    def _folder(self, name: str) -> Path:
        return Path(f"/proc/{self.rig.hosts[name].init}/root/{FOLDER}")


@contextlib.contextmanager
def elected(rig: Rig, hub: str = "hub", standby: str = "spoke1") -> Iterator[Pair]:
    """For a block, VRRP between two hosts: the hub is the master and has the address, also in the cloud."""
    api = AddressApi(rig)
    pair = Pair(rig, api, (hub, standby))
    try:
        pair.start(hub)
        api.grant(hub)
        pair.await_address(hub)
        pair.start(standby)
        yield pair
    finally:
        for name in [*reversed(pair.running)]:  # the standby first: it would take the address over
            pair.stop(name)
        api.close()

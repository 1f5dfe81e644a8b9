"""
An overlay on live hosts for the length of a run: set up like a lab's, and removed however the run ends.

    provisioned = provision(machines, topologies.star(2))
    ...
    provisioned.restore()              NotRestored names everything that is not as it was

Nothing that exists is touched.  Each host has the undo of every change before it is made (`agent.undoing`), and
goes it by itself within seconds when this process, the connection or the agent there is no more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any, NoReturn

from lab import building
from lab.errors import EnvironmentProblem, MachineLost, OvercastError
from lab.machines import abilities
from lab.machines.base import Call, Machine
from lab.machines.live.ssh_link import SILENCE
from lab.machines.node import Agent, Node, ask_all
from lab.model import Topology
from lab.overlay import placement
from lab.overlay.recognition import readback
from lab.probes.host_state.ipv6 import usable
from lab.stack import differences, state
from lab.stack.differences import Difference
from lab.topology import designs

DETECTION = 5.0
"""Seconds for IPv6 addresses; a carrier takes up to one, detection up to two (RFC 4862 section 5.4)."""
PATIENCE = 2 * SILENCE
"""Seconds within which a host that we lost must have noticed it and be as it was."""

Again = Callable[[str], Machine]


class NotRestored(EnvironmentProblem):
    """A host is not as it was, or it cannot be seen whether it is."""


@dataclass(frozen=True)
class Provisioned:
    """The overlay that was set up, and the state of the hosts before that."""

    topology: Topology
    nodes: Mapping[str, Node]
    before: state.State
    fingerprints: Mapping[str, tuple[object, ...]]
    again: Again | None = None
    """Connects again to a host whose connection was lost, to check that it has restored itself."""

    readdressed: list[Difference] = field(default_factory=list)
    """Of the restored hosts, what differs of the address that a standby takes over."""

    def restore(self) -> str:
        """
        Takes the overlay away everywhere and compares; NotRestored names all that is not as it was.

        Returns the move of the hub's address that VRRP has made meanwhile, as text: it is not the run's to undo.
        """
        for node in self.nodes.values():
            # before the threads: two that wait for one host would take each other's answers
            with contextlib.suppress(OSError, EnvironmentProblem):  # what is lost now is lost below, too
                node.machine.settle()
        for node in self.nodes.values():
            node.machine.peers, node.machine.peer_addresses = (), {}  # one that is gone keeps no other from it
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            problems = [line for lines in pool.map(self._restore, self.nodes) for line in lines]
        had = [self.nodes[one.node].machine.name for one in self.readdressed if one.now is None]
        have = [self.nodes[one.node].machine.name for one in self.readdressed if one.was is None]
        if not (had and have):
            problems += map(self._to_revert, self.readdressed)
        if problems:
            raise NotRestored("hosts differ from their state before --provision:\n  " + "\n  ".join(problems))
        if not (had and have):
            return ""
        return f"{self.topology.hub.address('underlay')}, which VRRP moved from {had[0]} to {have[0]}"

    def _restore(self, name: str) -> list[str]:
        try:
            node = self.nodes[name]
            failures = [
                f"{name}: could not be undone ({failure['error']}); run on {node.machine.name}: {failure['command']}"
                for failure in node.ask(Agent.undo)
            ]
            # what failed shows in the difference too, but the reason does not
            return failures or self._compared(node)
        except MachineLost as lost:
            return self._seen_again(name, lost)
        except (OSError, EnvironmentProblem) as problem:
            return [f"{name}: {problem}"]

    def _compared(self, node: Node) -> list[str]:
        one = {node.name: node}
        if state.fingerprint(one) == self.fingerprints[node.name]:
            return []
        different = differences.compared({node.name: self.before[node.name]}, state.of(one))
        moving = [each for each in different if self._is_moving(each)]
        self.readdressed.extend(moving)
        return [self._to_revert(each) for each in different if each not in moving]

    def _is_moving(self, difference: Difference) -> bool:
        """Whether it is about the address that the hub and its standby take from each other."""
        address = self.topology.hub.address("underlay")
        return self.topology.standby is not None and (
            (difference.subject, difference.name, difference.key.partition("/")[0]) == ("address", "", address)
        )

    def _to_revert(self, difference: Difference) -> str:
        return f"{difference}; run on {self.nodes[difference.node].machine.name}: {differences.reverting(difference)}"

    def _seen_again(self, name: str, lost: MachineLost) -> list[str]:
        """A lost host restores itself: it is connected again, and compared when the devices are gone."""
        what = f"{lost.message.splitlines()[0]}; it puts itself back within {PATIENCE:g} s"
        look = f"to see it, run on {self.nodes[name].machine.name}: ip -d link; ip addr; ip route"
        if self.again is None:
            return [f"{what}, which was not seen: {look}"]
        try:
            machine = self.again(name)
        except OvercastError as problem:
            return [f"{what}, which was not seen ({problem.message.splitlines()[0]}): {look}"]
        try:
            node = Node.home(name, machine)
            if not node.ask(Agent.wait_restored, timeout=PATIENCE):
                return [f"{what}, which it has not: {look}"]
            return self._compared(node)
        except (OSError, EnvironmentProblem) as problem:
            return [f"{name}: {problem}; {look}"]
        finally:
            machine.close()


def provision(
    machines: Mapping[str, Machine],
    topology: Topology,
    *,
    subnet: IPv4Network | None = None,
    replace_routes: bool = False,
    again: Again | None = None,
) -> Provisioned:
    """
    Sets an overlay up on hosts, the hub first, whose names are those of the topology's nodes.

    `subnet` is another one for the overlay; `replace_routes` lets routes that are in the way make room for as long as
    the overlay is there.  EnvironmentProblem: what is missing or in the way; then nothing has been changed, or all is
    as before.
    """
    if unprivileged := [machine.name for machine in machines.values() if machine.facts["uid"] != 0]:
        raise EnvironmentProblem(
            f"--provision requires root on {', '.join(unprivileged)}",
            remedy="add --sudo, or ?sudo=true to the host, or log in as root",
        )
    nodes = {name: Node.home(name, machine) for name, machine in machines.items()}
    seen = readback.read(list(nodes.values()))
    if subnet is not None:
        topology = placement.readdressed(topology, subnet)
    topology = placement.placed(designs.live(topology), seen)
    topology = designs.sized(topology, min(seen[node.name].device(node.nic).mtu for node in topology.nodes))
    obstacles = placement.in_the_way(topology, seen)
    _refuse([one for one in obstacles if not (replace_routes and one.route)], replace_routes)
    fingerprints = {name: state.fingerprint({name: node}) for name, node in nodes.items()}
    provisioned = Provisioned(topology, nodes, state.of(nodes), fingerprints, again)
    calls = {name: [node.call(Agent.undoable)] for name, node in nodes.items()}
    for one in obstacles:
        calls[one.node].append(nodes[one.node].call(Agent.apply, changes=[one.set_aside()]))
    for node, call in (*building.overlay_steps(topology, nodes), *building.standby_steps(topology, nodes)):
        calls[node.name].append(call)
    try:
        problems = _on_all(machines, calls)
    except BaseException:
        provisioned.restore()
        raise
    if problems:
        _give_up(provisioned, problems)
    building.settle_spanning_tree(topology, nodes)
    ask_all(building.first_frames(topology, nodes))
    _await_ipv6(topology, nodes)
    return provisioned


def _await_ipv6(topology: Topology, nodes: Mapping[str, Node]) -> None:
    """Where hosts use IPv6, waits until their new devices have addresses that passed duplicate address detection."""
    parameters = {plan: f"net.ipv6.conf.{plan.device}.disable_ipv6" for plan in topology.nodes}
    asked = [(nodes[plan.name], name) for plan, name in parameters.items()]
    values = ask_all([(node, node.call(Agent.sysctl_read, [name])) for node, name in asked])
    using = [plan for (plan, name), value in zip(parameters.items(), values, strict=True) if value[name] == "0"]
    # one that gets no address is for the tests to judge
    waits = [(nodes[plan.name], plan.device) for plan in using]
    ask_all([(node, node.call(Agent.await_entries, "addresses", usable(device), DETECTION)) for node, device in waits])


def _on_all(machines: Mapping[str, Machine], calls: Mapping[str, Sequence[Call[Any]]]) -> list[str]:
    """Calls on every host at the same time; returns what was refused, by host."""

    def on_one(name: str) -> str | None:
        try:
            machines[name].batch(calls[name])
        except OSError as refusal:
            return f"{machines[name].name}: {refusal.strerror or refusal}"
        except EnvironmentProblem as problem:
            return f"{machines[name].name}: {problem}"
        return None

    with ThreadPoolExecutor(len(calls)) as pool:
        return [problem for problem in pool.map(on_one, calls) if problem]


def _give_up(provisioned: Provisioned, problems: Sequence[str]) -> NoReturn:
    what = "the overlay could not be set up:\n  " + "\n  ".join(problems)
    kind, name = provisioned.topology.options.kind, provisioned.topology.name
    modules = ", ".join([*(abilities.MODULES.get(each, each) for each in (kind, *designs.kinds(name))), "bridge"])
    try:
        provisioned.restore()
    except NotRestored as worse:
        raise NotRestored(f"{what}\nand {worse.message}") from None
    raise EnvironmentProblem(
        f"{what}\nthe hosts are unchanged",
        remedy=f"./overcast doctor --hosts=... --tunnel={kind} --topology={name} shows whether the hosts "
        f"have {modules}",
    )


def _refuse(obstacles: Sequence[placement.Obstacle], may_replace: bool) -> None:
    if not obstacles:
        return
    remedies = ["remove --provision to test the existing overlay, or remove the conflicting configuration"]
    if not may_replace and all(one.route for one in obstacles):
        remedies = ["--replace-routes temporarily removes conflicting routes; or remove them by hand"]
    if any("172.16.254" in one.found for one in obstacles):
        remedies.append("--overlay-subnet=172.16.253.0/24 uses another subnet")
    raise EnvironmentProblem(
        "--provision does not change existing configuration; these conflict with the new overlay:\n  "
        + "\n  ".join(map(str, obstacles)),
        remedy="; ".join(remedies),
    )

"""Where a packet of the tunnel's protocol was lost, and the fix that lets it pass."""

from __future__ import annotations

from collections.abc import Iterator

from lab.checkup.check import Check
from lab.checkup.underlay_probe import Crossing, UnderlayPath
from lab.clouds import firmware
from lab.clouds.firmware import Carrier
from lab.diagnose.rules.host.firewall_exceptions import inserted
from lab.firewall.matches import PacketPattern
from lab.firewall.rules import FirewallRule
from lab.firewall.verdicts import Firewall, Verdict
from lab.model import TunnelOptions
from lab.overlay.commands import path_mtu
from lab.probes.capture.icmp_errors import UNREACHABLE
from lab.tunnels import DEFAULT, FALLBACK, kind

REJECTIONS = (9, 10, 13)
NO_PROTOCOL, NO_PORT = 2, 3
"""Codes of ICMP unreachable: those of firewalls; what a kernel answers without such a driver, or such a tunnel."""

IN_NFT = "and in /etc/nftables.conf"
IN_IPTABLES = "and save it: netfilter-persistent save, or the like"
NFT, IPTABLES = "nft", "iptables"
OVERHEADS = ", ".join(f"{name} {kind(name).overhead(TunnelOptions(kind=name))}" for name in (DEFAULT, FALLBACK))
LOWERED = f"set the MTU of every overlay device to it less the tunnel's headers ({OVERHEADS})"
TO, FROM = ("output", "-d", "daddr"), ("input", "-s", "saddr")


def checks(crossing: Crossing) -> Iterator[Check]:
    """One line for a way, and more where something passes that will not always."""
    way = crossing.way
    what, receiver = str(way.carrier), way.receiver.host.role
    if crossing.unchecked:
        yield Check("warning", way.name, what, f"not tested: {crossing.unchecked}")
    elif crossing.delivered:
        yield Check("ok", way.name, what, f"arrives, and passes the firewall of {receiver}")
        yield from _lasting(way)
        yield from _full(crossing)
    elif not way.receiver.host.node.rooted:
        yield _by_answer(crossing)
    elif crossing.arrived:
        yield _dropped_by_host(way)
    elif not crossing.left:
        yield _kept(crossing)
    else:
        yield _dropped_by_cloud(crossing)


def _verdict(way: UnderlayPath) -> Verdict | None:
    """What the receiver's own firewall does with the first packet; None: unknown without root on the host."""
    firewall, nic = way.receiver.host.firewall, way.receiver.host.seen.device_with(way.receiver.address)
    source, destination, port = way.sender.address, way.receiver.address, way.carrier.port
    packet = PacketPattern(way.carrier.protocol, nic, None, source, destination, port, "unicast", "new")
    return firewall.of(packet, "input") if firewall else None


def _accepting(way: UnderlayPath, verdict: Verdict | None = None) -> str:
    chain = verdict.base if verdict else None
    return accepting(way.receiver.host.firewall, way.carrier, way.sender.address, chain)


def _opening(way: UnderlayPath) -> str:
    cloud = firmware.detect(way.receiver.host.details["dmi"])
    return firmware.opening(cloud.provider if cloud else None, way.carrier, [way.sender.address])


def _problem(way: UnderlayPath, found: str, remedy: str, at: str) -> Check:
    return Check("problem", way.name, str(way.carrier), found, remedy, at=at, problem=f"{way.carrier} is dropped")


def _lasting(way: UnderlayPath) -> Iterator[Check]:
    """The probes went both ways, so that a firewall may have taken them for answers (PRE-05)."""
    verdict, receiver = _verdict(way), way.receiver.host.role
    if verdict is not None and verdict.passes is False:
        found = f"{receiver} accepts it only as ESTABLISHED; drops it once the conntrack entry expires ({verdict.why})"
        what, remedy = f"{way.carrier}, unsolicited", _accepting(way, verdict)
        yield Check("problem", way.name, what, found, remedy, at=receiver, problem=f"{what}, is dropped")


def _full(crossing: Crossing) -> Iterator[Check]:
    way = crossing.way
    if not crossing.full:
        found = f"a packet of {way.full} octets, the MTU of both NICs, does not arrive: the path MTU is smaller"
        remedy = f"{path_mtu(way.receiver.address, way.full)}; then {LOWERED}"
        at, problem = way.sender.host.role, "the path MTU is too small"
        yield Check("problem", way.name, "path MTU", found, remedy, at=at, problem=problem)


def _by_answer(crossing: Crossing) -> Check:
    """Without root on the receiver only a returned ICMP error shows that the packet arrived."""
    way, receiver = crossing.way, crossing.way.receiver.host.role
    if crossing.answer is None:
        found = f"sent, but whether it arrives can only be seen with root on {receiver} (--sudo)"
        return Check("warning", way.name, str(way.carrier), found)
    kind, code = crossing.answer.kind, crossing.answer.code
    if code in REJECTIONS:
        found = f"arrives, and the firewall of {receiver} rejects it (ICMP {kind}/{code}, {UNREACHABLE[code]})"
        return _problem(way, found, _accepting(way), at=receiver)
    if code == NO_PROTOCOL:
        return Check("ok", way.name, str(way.carrier), f"arrives, and {receiver} has no driver for it yet (ICMP 3/2)")
    if code == NO_PORT:
        found = f"arrives: {receiver} answers ICMP 3/3, as expected for a probe without a tunnel (or rejects it)"
        return Check("ok", way.name, str(way.carrier), found)
    found = f"a router on the path answers ICMP {kind}/{code}: it does not reach {receiver}"
    return _problem(way, found, _opening(way), at="")


def _dropped_by_host(way: UnderlayPath) -> Check:
    verdict, receiver = _verdict(way), way.receiver.host
    rule = f" ({verdict.why})" if verdict and verdict.why and verdict.passes is not True else ""
    nic = receiver.seen.device_with(way.receiver.address)
    if verdict is not None and verdict.passes:
        found = f"arrives at {receiver.role} {nic} and is dropped there, by no rule of a chain of INPUT"
        remedy = f"sudo nft list ruleset; tc filter show dev {nic} ingress    # shows what drops it"
        return _problem(way, found, remedy, at=receiver.role)
    found = f"arrives at {receiver.role} {nic}, and its own firewall drops it{rule}"
    return _problem(way, found, _accepting(way, verdict), at=receiver.role)


def _kept(crossing: Crossing) -> Check:
    way, sender = crossing.way, crossing.way.sender.host
    said = f" ({crossing.refused})" if crossing.refused else ""
    found = f"does not leave {sender.role}{said}: its own firewall (OUTPUT), or no route to {way.receiver.address}"
    nic = sender.seen.device_with(way.sender.address)
    leaving = PacketPattern(way.carrier.protocol, None, nic, way.sender.address, way.receiver.address, way.carrier.port)
    verdict = sender.firewall.of(leaving, "output") if sender.firewall else None
    if verdict is None or verdict.passes is not False:
        return _problem(way, found, f"ip route get {way.receiver.address}", at=sender.role)
    remedy = _exception(sender.firewall, way.carrier, way.receiver.address, verdict.base, TO)
    return _problem(way, found, remedy, at=sender.role)


def _dropped_by_cloud(crossing: Crossing) -> Check:
    way = crossing.way
    here, there = way.sender.address, way.receiver.address
    nic = way.receiver.host.seen.devices.get(way.receiver.host.seen.device_with(there) or "")
    if nic is not None and nic.xdp:
        found = f"leaves {way.sender.host.role}, and {way.receiver.host.role} {nic.name} has an XDP program, which "
        found += "drops packets before any capture sees them"
        remedy = f"sudo ip link set dev {nic.name} {nic.xdp} off"
        return _problem(way, found, remedy, at=way.receiver.host.role)
    if crossing.others:
        others = " and ".join(sorted(crossing.others))
        found = f"leaves {way.sender.host.role} and does not arrive ({here} → {there}), unlike {others}: a cloud rule"
    else:
        found = f"leaves {way.sender.host.role} and does not arrive ({here} → {there}), nor do UDP and ICMP echo:"
        found += " a cloud rule, or not the address that the other is reached by"
    return _problem(way, found, _opening(way), at="")


def accepting(firewall: Firewall | None, carrier: Carrier, peer: str, chain: FirewallRule | None = None) -> str:
    """Accepts the tunnel packets from a peer; `chain` is the one that drops them, if that is known."""
    managed = chain is None or chain.tool == NFT or "legacy" not in chain.tool
    manager = firewall.manager if managed and firewall is not None else ""
    if manager == "firewalld":
        what = f"--add-port={carrier.port}/udp" if carrier.port else "--add-protocol=gre"
        return f"sudo firewall-cmd --permanent {what} && sudo firewall-cmd --reload"
    if manager == "ufw":
        what = f"proto udp from {peer} to any port {carrier.port}" if carrier.port else f"proto gre from {peer}"
        return f"sudo ufw insert 1 allow in {what}"
    return _exception(firewall, carrier, peer, chain, FROM)


def _exception(
    firewall: Firewall | None, carrier: Carrier, peer: str, chain: FirewallRule | None, way: tuple[str, str, str]
) -> str:
    """Accepts them from a peer, or to it, by the tool of the chain that drops: another's rule has no effect on it."""
    hook, short, long = way
    if chain is None and firewall is not None and firewall.tools == {NFT}:
        chain = next((rules[0] for rules in firewall.chains.values() if rules[0].hook == hook), None)
    chain = chain or FirewallRule(IPTABLES, "ip", "filter", hook.upper())
    match = f"{short} {peer} {carrier.iptables}", f"ip {long} {peer} {carrier.nft}"
    return f"sudo {inserted(chain, match)}    # {IN_NFT if chain.tool == NFT else IN_IPTABLES}"

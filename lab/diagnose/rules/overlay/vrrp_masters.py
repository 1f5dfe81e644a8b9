"""Why a hub and its standby are both VRRP masters: which of them, or the cloud, drops the other's advertisements."""

from __future__ import annotations

from collections.abc import Mapping

from lab.diagnose.rules.host.firewall_exceptions import inserted
from lab.firewall.matches import PacketPattern
from lab.firewall.verdicts import Firewall, Verdict
from lab.model import Finding
from lab.overlay.recognition import spares
from lab.overlay.recognition.readback import ConfiguredHosts
from lab.overlay.recognition.spares import Spare

VRRP = 112
"""Its IP protocol (RFC 5798)."""


def explained(spare: Spare, hosts: ConfiguredHosts, firewalls: Mapping[str, Firewall]) -> Finding:
    """The finding of two masters, with the firewall that drops advertisements, or that it is the cloud's rules."""
    peers = {spare.standby: spare.hub, spare.hub: spare.standby}
    verdicts = {at: _verdict(spare, hosts, at, peer, firewalls[at]) for at, peer in peers.items() if at in firewalls}
    for at, verdict in verdicts.items():
        if verdict.passes is False and verdict.rule is not None:
            address = spares.source(spare, hosts[peers[at]])
            match = (f"-s {address} -p {VRRP}", f"ip saddr {address} meta l4proto {VRRP}")
            why = f"a firewall on {at} drops protocol {VRRP} from {address} ({verdict.why})"
            return spares.two_masters(spare, hosts, at=at, why=why, fix=inserted(verdict.base or verdict.rule, match))
    if len(verdicts) == len(peers) and all(one.passes for one in verdicts.values()):
        names = " and ".join(peers)
        why = f"the firewalls on {names} accept protocol {VRRP} from each other: the cloud's rules must, too"
        return spares.two_masters(spare, hosts, why=why)
    return spares.two_masters(spare, hosts)


def _verdict(spare: Spare, hosts: ConfiguredHosts, at: str, peer: str, firewall: Firewall) -> Verdict:
    """What becomes of an advertisement of the other host."""
    packet = PacketPattern(VRRP, spares.nic(spare, hosts[at]), source=spares.source(spare, hosts[peer]), kind=None)
    return firewall.of(packet, "input")

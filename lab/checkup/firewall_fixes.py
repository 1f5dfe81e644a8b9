"""The commands that open a host's own firewall, in the words of the tool that runs it there."""

from __future__ import annotations

from lab.clouds import Carrier
from lab.firewall.rules import FirewallRule
from lab.firewall.verdicts import Firewall

IN_NFT = "accept    # and in /etc/nftables.conf"
IN_IPTABLES = "-j ACCEPT    # and save it: netfilter-persistent save, or the like"
NFT, IPTABLES = "nft", "iptables"
TO, FROM = ("output", "-d", "daddr"), ("input", "-s", "saddr")


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


def sending(firewall: Firewall | None, carrier: Carrier, peer: str, chain: FirewallRule | None = None) -> str:
    """Accepts the tunnel packets to a peer, which leave the host itself."""
    return _exception(firewall, carrier, peer, chain, TO)


def _exception(
    firewall: Firewall | None, carrier: Carrier, peer: str, chain: FirewallRule | None, way: tuple[str, str, str]
) -> str:
    """By the tool of the chain that drops: a rule of another one has no effect on it."""
    hook, short, long = way
    if chain is None and firewall is not None and firewall.tools == {NFT}:
        chain = next((rules[0] for rules in firewall.chains.values() if rules[0].hook == hook), None)
    if chain is not None and chain.tool == NFT:
        return f"sudo nft insert rule {' '.join(chain.place[1:])} ip {long} {peer} {carrier.nft} {IN_NFT}"
    tool = chain.tool if chain else IPTABLES
    return f"sudo {tool} -I {hook.upper()} {short} {peer} {carrier.iptables} {IN_IPTABLES}"

"""The commands that open a host's own firewall, in the words of the tool that runs it there."""

from __future__ import annotations

from lab.checkup.verdicts import Firewall
from lab.clouds import Carrier

IN_NFT = "accept   (and in /etc/nftables.conf)"
IN_IPTABLES = "-j ACCEPT   (and save it: netfilter-persistent save, or the like)"


def accepting(firewall: Firewall | None, carrier: Carrier, peer: str) -> str:
    """Lets the carrier of the overlay in from a peer."""
    if firewall is not None and firewall.has_chain("firewalld"):
        what = f"--add-port={carrier.port}/udp" if carrier.port else "--add-protocol=gre"
        return f"sudo firewall-cmd --permanent {what} && sudo firewall-cmd --reload"
    if firewall is not None and firewall.has_chain("ufw-"):
        what = f"proto udp from {peer} to any port {carrier.port}" if carrier.port else f"proto gre from {peer}"
        return f"sudo ufw insert 1 allow in {what}"
    if firewall is not None and firewall.tools == {"nft"}:
        return f"{_nft(firewall)} ip saddr {peer} {carrier.nft} {IN_NFT}"
    return f"sudo iptables -I INPUT -s {peer} {carrier.iptables} {IN_IPTABLES}"


def _nft(firewall: Firewall) -> str:
    chain = next((chain for chain in firewall.chains if chain.hook == "input"), None)
    return f"sudo nft insert rule {f'{chain.table} {chain.name}' if chain else 'inet filter input'}"

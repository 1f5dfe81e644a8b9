"""The commands that open a host's own firewall, in the words of the tool that runs it there."""

from __future__ import annotations

from lab.checkup.verdicts import Firewall
from lab.clouds import Carrier


def accepting(firewall: Firewall | None, carrier: Carrier, peer: str) -> str:
    """Lets the carrier of the overlay in from a peer."""
    if firewall is not None and firewall.has_chain("firewalld"):
        what = f"--add-port={carrier.port}/udp" if carrier.port else "--add-protocol=gre"
        return f"sudo firewall-cmd --permanent {what} && sudo firewall-cmd --reload"
    if firewall is not None and firewall.has_chain("ufw-"):
        what = f"proto udp from {peer} to any port {carrier.port}" if carrier.port else f"proto gre from {peer}"
        return f"sudo ufw insert 1 allow in {what}"
    if firewall is not None and firewall.tools == {"nft"}:
        what = f"udp dport {carrier.port}" if carrier.port else "ip protocol gre"
        return f"sudo nft insert rule {_input(firewall)} ip saddr {peer} {what} accept   (and in /etc/nftables.conf)"
    what = f"-p udp --dport {carrier.port}" if carrier.port else "-p gre"
    return f"sudo iptables -I INPUT -s {peer} {what} -j ACCEPT   (and save it: netfilter-persistent save, or the like)"


def trusting(firewall: Firewall | None, device: str) -> str:
    """Lets in whatever comes out of the tunnel."""
    if firewall is not None and firewall.has_chain("firewalld"):
        return f"sudo firewall-cmd --permanent --zone=trusted --add-interface={device} && sudo firewall-cmd --reload"
    if firewall is not None and firewall.has_chain("ufw-"):
        return f"sudo ufw insert 1 allow in on {device}"
    if firewall is not None and firewall.tools == {"nft"}:
        return f"sudo nft insert rule {_input(firewall)} iifname {device} accept   (and in /etc/nftables.conf)"
    return f"sudo iptables -I INPUT -i {device} -j ACCEPT   (and save it: netfilter-persistent save, or the like)"


def _input(firewall: Firewall) -> str:
    chain = next((chain for chain in firewall.chains if chain.hook == "input"), None)
    return f"{chain.table} {chain.name}" if chain else "inet filter input"

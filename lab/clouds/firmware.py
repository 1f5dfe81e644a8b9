"""
Which cloud a host is in, and the cloud's own command that lets the overlay's packets in.

The firmware of a cloud's machine names the cloud (DMI, /sys/class/dmi/id).  What a cloud's rules drop leaves no trace
on either host: the remedy is the cloud's, run where its command line is set up.
Sources: the instance identification pages of AWS, Azure, GCP and OCI; `oci network nsg rules add`, `aws ec2
authorize-security-group-ingress` (IpPermission takes any protocol number), `gcloud compute firewall-rules create`
(GRE has no name there), `az network nsg rule create`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from lab.clouds.providers import PROVIDERS
from lab.model import Provider

GRE, UDP = 47, 17
AZURE_TAG = "7783-7084-3265-9085-8269-3286-77"
"""The chassis asset tag of every Azure VM; Hyper-V elsewhere has the same vendor, but not this."""

# provider, DMI field, what it holds
_MARKS = (
    ("oci", "chassis_asset_tag", "OracleCloud.com"),
    ("aws", "sys_vendor", "Amazon EC2"),
    ("aws", "board_vendor", "Amazon EC2"),
    ("aws", "product_version", ".amazon"),
    ("gcp", "product_name", "Google Compute Engine"),
    ("azure", "chassis_asset_tag", AZURE_TAG),
)


@dataclass(frozen=True)
class DetectedCloud:
    """The cloud that a host's firmware names, and the words that name it."""

    provider: Provider
    evidence: str


def detect(dmi: Mapping[str, str]) -> DetectedCloud | None:
    """The cloud of a host with this DMI (field by name); None when the firmware names none that is known here."""
    for name, field, mark in _MARKS:
        if mark in dmi.get(field, ""):
            return DetectedCloud(PROVIDERS[name], f"{field} is {dmi[field]}")
    return None


@dataclass(frozen=True)
class Carrier:
    """The tunnel packets of an overlay: an IP protocol, and for UDP the port."""

    protocol: int
    port: int | None = None

    def __str__(self) -> str:
        return f"UDP {self.port}" if self.port is not None else f"protocol {self.protocol}"

    @property
    def iptables(self) -> str:
        """What matches it, in the words of iptables."""
        return f"-p udp --dport {self.port}" if self.port else "-p gre"

    @property
    def nft(self) -> str:
        """What matches it, in the words of nft."""
        return f"udp dport {self.port}" if self.port else "ip protocol gre"


def opening(provider: Provider | None, carrier: Carrier, sources: Sequence[str]) -> str:
    """The command (or, where there is none, the sentence) that lets a carrier in from some addresses."""
    ranges = [str(ip_network(address)) for address in sources]
    name = provider.name if provider else ""
    if name == "oci":
        return _oci(carrier, ranges)
    if name == "aws":
        protocol = f"udp,FromPort={carrier.port},ToPort={carrier.port}" if carrier.port else str(carrier.protocol)
        member, word = ("Ipv6Ranges", "CidrIpv6") if any(":" in each for each in ranges) else ("IpRanges", "CidrIp")
        cidrs = ",".join(f"{{{word}={each}}}" for each in ranges)
        permission = f"'IpProtocol={protocol},{member}=[{cidrs}]'"
        return f"aws ec2 authorize-security-group-ingress --group-id GROUP --ip-permissions {permission}"
    if name == "gcp":
        what = f"udp:{carrier.port}" if carrier.port else str(carrier.protocol)
        return (
            f"gcloud compute firewall-rules create overlay --network=NETWORK --direction=INGRESS --allow={what}"
            f" --source-ranges={','.join(ranges)}"
        )
    if name == "azure":
        return _azure(carrier, ranges)
    return (
        f"let {carrier} in from {', '.join(ranges)} in the cloud's rules (security list, security group or firewall"
        " rule: docs/clouds.md)"
    )


def _oci(carrier: Carrier, ranges: Sequence[str]) -> str:
    port = {"udpOptions": {"destinationPortRange": {"min": carrier.port, "max": carrier.port}}} if carrier.port else {}
    rules: list[dict[str, Any]] = [
        {
            "direction": "INGRESS",
            "protocol": str(carrier.protocol),
            "source": each,
            "sourceType": "CIDR_BLOCK",
            "isStateless": False,
            **port,
        }
        for each in ranges
    ]
    return f"oci network nsg rules add --nsg-id NSG --security-rules '{json.dumps(rules)}'"


def _azure(carrier: Carrier, ranges: Sequence[str]) -> str:
    if carrier.port is None:
        return "Azure blocks GRE, and no rule opens it: make the tunnels VXLAN (UDP 4789), and test with --tunnel=vxlan"
    return (
        "az network nsg rule create --resource-group GROUP --nsg-name NSG --name overlay --priority 200"
        f" --direction Inbound --access Allow --protocol Udp --destination-port-ranges {carrier.port}"
        f" --source-address-prefixes {' '.join(ranges)}"
    )

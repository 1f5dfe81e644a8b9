"""
The cloud's rules that let an overlay in, as Terraform: one file, with a variable for what they are added to.

Sources: the resources `aws_vpc_security_group_ingress_rule`, `google_compute_firewall`,
`oci_core_network_security_group_security_rule` and `azurerm_network_security_rule` of their providers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from ipaddress import ip_network

from lab.boot.common import head
from lab.clouds.firmware import Carrier
from lab.model import Provider

FILE = "cloud.tf"


def text(provider: Provider, carrier: Carrier, sources: Sequence[str]) -> str:
    """The file; empty for a cloud that no rule makes let it in (GRE in Azure)."""
    ranges = [str(ip_network(address)) for address in sources]
    made = {"aws": _aws, "gcp": _gcp, "oci": _oci, "azure": _azure}.get(provider.name)
    blocks = made(carrier, ranges) if made else []
    return (
        head(f"accepts tunnel packets ({carrier}); run: terraform apply") + "\n" + "\n".join(blocks) if blocks else ""
    )


def _aws(carrier: Carrier, ranges: Sequence[str]) -> list[str]:
    ports = {"from_port": carrier.port, "to_port": carrier.port} if carrier.port else {}
    settings = {
        "for_each": _Expression(f"toset({json.dumps(ranges)})"),
        "security_group_id": _Expression("var.security_group_id"),
        "cidr_ipv6" if any(":" in each for each in ranges) else "cidr_ipv4": _Expression("each.value"),
        "ip_protocol": "udp" if carrier.port else str(carrier.protocol),
        **ports,
    }
    return [_variable("security_group_id"), _rule("aws_vpc_security_group_ingress_rule", settings)]


def _gcp(carrier: Carrier, ranges: Sequence[str]) -> list[str]:
    settings = {
        "name": "overlay",
        "network": _Expression("var.network"),
        "direction": "INGRESS",
        "source_ranges": ranges,
    }
    allowed = {"protocol": "udp", "ports": [str(carrier.port)]} if carrier.port else {"protocol": str(carrier.protocol)}
    return [_variable("network"), _rule("google_compute_firewall", settings, _block("allow", allowed))]


def _oci(carrier: Carrier, ranges: Sequence[str]) -> list[str]:
    settings = {
        "for_each": _Expression(f"toset({json.dumps(ranges)})"),
        "network_security_group_id": _Expression("var.network_security_group_id"),
        "direction": "INGRESS",
        "protocol": str(carrier.protocol),
        "source": _Expression("each.value"),
        "source_type": "CIDR_BLOCK",
    }
    port = _block("destination_port_range", {"min": carrier.port, "max": carrier.port})
    inner = [_block("udp_options", {}, port)] if carrier.port else []
    return [
        _variable("network_security_group_id"),
        _rule("oci_core_network_security_group_security_rule", settings, *inner),
    ]


def _azure(carrier: Carrier, ranges: Sequence[str]) -> list[str]:
    if carrier.port is None:
        return []
    settings = {
        "name": "overlay",
        "resource_group_name": _Expression("var.resource_group_name"),
        "network_security_group_name": _Expression("var.network_security_group_name"),
        "priority": 200,
        "direction": "Inbound",
        "access": "Allow",
        "protocol": "Udp",
        "source_port_range": "*",
        "source_address_prefixes": ranges,
        "destination_port_range": str(carrier.port),
        "destination_address_prefix": "*",
    }
    variables = [_variable(name) for name in ("resource_group_name", "network_security_group_name")]
    return [*variables, _rule("azurerm_network_security_rule", settings)]


class _Expression(str):
    """Text that is no string to Terraform."""


def _variable(name: str) -> str:
    return _block(f'variable "{name}"', {"type": _Expression("string")})


def _rule(kind: str, settings: Mapping[str, object], *inner: str) -> str:
    return _block(f'resource "{kind}" "overlay"', settings, *inner)


def _block(title: str, settings: Mapping[str, object], *inner: str) -> str:
    """As `terraform fmt` has it: two spaces for each level, the values of a block below each other."""
    width = max(map(len, settings), default=0)
    lines = [
        f"{name:<{width}} = {value if isinstance(value, _Expression) else json.dumps(value)}"
        for name, value in settings.items()
    ]
    for block in inner:
        lines += [*([""] if lines else []), *block.splitlines()]
    return "\n".join([f"{title} {{", *(f"  {line}".rstrip() for line in lines), "}", ""])

"""
The clouds, as their documents describe their networks (read in 2025; docs/clouds.md has the sources and the cells
that no document states).  OCI is the default: the lab's addresses are those of an OCI subnet.
"""

from __future__ import annotations

from lab.errors import UsageProblem
from lab.model import Provider

PROVIDERS = {
    provider.name: provider
    for provider in (
        Provider("oci", "Oracle Cloud VCN", broadcast=False, multicast=False, gre=True, vxlan=True, mtu=9000),
        Provider("aws", "AWS VPC", broadcast=False, multicast=False, gre=True, vxlan=True, mtu=9001),
        Provider("gcp", "Google Cloud VPC", broadcast=False, multicast=False, gre=True, vxlan=True, mtu=1460),
        Provider("azure", "Azure VNet", broadcast=False, multicast=False, gre=False, vxlan=True, mtu=1500),
    )
}


def provider(name: str) -> Provider:
    """The provider of a name; UsageProblem names the ones there are."""
    if name not in PROVIDERS:
        raise UsageProblem(f"unknown provider {name!r}: expected one of {', '.join(PROVIDERS)}")
    return PROVIDERS[name]

"""
The clouds, as their documents describe their networks (read in 2025; docs/clouds.md has the sources and the cells
that no document states).  OCI is the default: the lab's addresses are those of an OCI subnet.
"""

from __future__ import annotations

from lab.clouds.native_multicast import CLOUDS
from lab.errors import UsageProblem
from lab.model import Provider
from lab.tunnels import DEFAULT, FALLBACK, NONE, kind

PROVIDERS = {
    provider.name: provider
    for provider in (
        Provider("oci", "Oracle Cloud VCN", broadcast=False, multicast=False, gre=True, vxlan=True, mtu=9000),
        Provider("aws", "AWS VPC", broadcast=False, multicast=False, gre=True, vxlan=True, mtu=9001),
        Provider("gcp", "Google Cloud VPC", broadcast=False, multicast=False, gre=True, vxlan=True, mtu=1460),
        Provider("azure", "Azure VNet", broadcast=False, multicast=False, gre=False, vxlan=True, mtu=1500),
        Provider(
            "aws-tgw",
            "AWS VPC in a Transit Gateway multicast domain",
            broadcast=False,
            multicast=True,
            gre=True,
            vxlan=True,
            mtu=9001,
            groups=CLOUDS["aws-tgw"],
        ),
        Provider(
            "gcp-multicast",
            "Google Cloud VPC in a Cloud Multicast domain",
            broadcast=False,
            multicast=True,
            gre=True,
            vxlan=True,
            mtu=1460,
            groups=CLOUDS["gcp-multicast"],
        ),
    )
}


DEFAULT_CLOUD = "oci"
WITHOUT_TUNNELS = f"./overcast --provider=aws-tgw --tunnel={NONE.name}"
"""What tests a cloud that delivers multicast by itself."""


def default_tunnel(cloud: Provider) -> str:
    """The kind of tunnel for a cloud when the user names none: one that the cloud lets pass, or no tunnel at all."""
    if cloud.groups:
        return NONE.name
    return DEFAULT if cloud.gre else FALLBACK


def tunnel_note(cloud: Provider, tunnel: str, *, chosen: bool) -> str:
    """One line for the user where the cloud blocks GRE; `chosen`: the user named the kind of tunnel."""
    if cloud.gre or (kind(tunnel).port and chosen):
        return ""
    if not carried(cloud, tunnel):
        return (
            f"warning: {cloud.title} blocks GRE, so nothing passes through {tunnel} tunnels; --tunnel={FALLBACK} "
            "works there"
        )
    return f"{cloud.title} blocks GRE, so the tunnels are {tunnel} (--tunnel={DEFAULT} shows what is lost)"


def carried(cloud: Provider, tunnel: str) -> bool:
    """Whether the cloud delivers the packets of such tunnels: all clouds deliver UDP."""
    return cloud.gre or bool(kind(tunnel).port)


def require_carried(cloud: Provider, tunnel: str) -> None:
    """UsageProblem where the cloud drops all packets of such tunnels: nothing can be measured."""
    if not carried(cloud, tunnel):
        raise UsageProblem(f"--tunnel={tunnel}: {cloud.title} blocks GRE; use --tunnel={FALLBACK}")


def provider(name: str) -> Provider:
    """The provider of a name; UsageProblem names the ones there are."""
    if name not in PROVIDERS:
        raise UsageProblem(f"unknown provider {name!r}: expected one of {', '.join(PROVIDERS)}")
    return PROVIDERS[name]


def for_tunnels(name: str, tunnel: str | None = None) -> Provider:
    """The provider of a name, for an overlay of tunnels (None: any kind); UsageProblem where there are to be none."""
    found = provider(name)
    if found.groups or (tunnel and kind(tunnel) is NONE):
        option = f"--provider={name}" if found.groups else f"--tunnel={NONE.name}"
        raise UsageProblem(f"{option}: expected tunnels; to test multicast without tunnels in a lab: {WITHOUT_TUNNELS}")
    return found

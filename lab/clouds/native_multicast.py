"""
Clouds that deliver multicast by themselves, as their documents describe it: members of a group receive it without an
overlay, by their NICs (docs/designs.md has the sources, fact by fact).

    AWS Transit Gateway: the subnets of a multicast domain
    Google Cloud Multicast: the VPC networks that are associated with a multicast domain
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Groups:
    """
    How a cloud delivers multicast by itself, as its documents say; it delivers it to members alone.

    None: no document states it.  `mtu`: octets of the largest packet to a group.  `query_interval` (seconds) is that of
    its IGMPv2 queries, and `queries_missed` is after how many without an answer a member is removed.  `most_members`:
    of one group; `most_groups`: of one domain.  `associate`: the command that puts a host's subnet, or network, into
    the multicast domain.
    """

    mtu: int
    associate: str = ""
    query_interval: int | None = None
    queries_missed: int | None = None
    most_members: int | None = None
    most_groups: int | None = None


TRANSIT_GATEWAY = Groups(
    mtu=8500,
    associate=(
        "aws ec2 associate-transit-gateway-multicast-domain --transit-gateway-multicast-domain-id DOMAIN "
        "--transit-gateway-attachment-id ATTACHMENT --subnet-ids SUBNET"
    ),
    query_interval=120,
    queries_missed=3,
    most_members=100,
)
CLOUD_MULTICAST = Groups(
    mtu=1460,  # the VPC's: no document states another for groups
    associate=(
        "gcloud network-services multicast-consumer-associations create NAME --location=ZONE "
        "--multicast-domain-activation=ACTIVATION --network=NETWORK"
    ),
    most_groups=500,
)
CLOUDS = {"aws-tgw": TRANSIT_GATEWAY, "gcp-multicast": CLOUD_MULTICAST}
"""By the name of the provider."""

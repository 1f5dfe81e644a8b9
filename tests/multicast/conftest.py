"""Where a member's IGMP is seen, and what it says."""

import pytest


@pytest.fixture
def uplink(overlay):
    """Where what a host sends on the overlay comes in next: `uplink(spoke1)` is the hub and its end of the tunnel."""

    def place(host):
        if host.is_hub:
            return overlay["spoke1"], overlay["spoke1"].plan.device
        return overlay.hub, overlay.topology.port("hub", host.name)

    return place


@pytest.fixture
def igmp_records(decode, layers):
    """The IGMPv3 group records about a group in what was seen, oldest first: `igmp_records(sightings, group)`."""

    def records(sightings, group):
        reports = [decode(sighting)[layers.IGMPv3_MR] for sighting in sightings]
        return [record for report in reports for record in report.records if record.maddr == group]

    return records

"""A member's IGMP reports."""

import pytest

from fixtures.probes import decode, layers


@pytest.fixture
def igmp_records():
    """The IGMPv3 group records about a group in what was seen, oldest first: `igmp_records(sightings, group)`."""

    def records(sightings, group):
        reports = [decode(sighting)[layers.IGMPv3_MR] for sighting in sightings]
        return [record for report in reports for record in report.records if record.maddr == group]

    return records

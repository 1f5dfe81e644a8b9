"""The lab of this area: the overlay with IPv6 inside."""

import pytest

from fixtures.probes import layers
from lab.model import ALL_NODES


@pytest.fixture
def overlay(standing):
    """The shared overlay with IPv6 on: here, every fixture that uses the overlay uses this one."""
    return standing(ipv6=True)


@pytest.fixture
def all_nodes():
    """The group that every IPv6 host is in (RFC 4291 section 2.7.1)."""
    return ALL_NODES


@pytest.fixture
def mld_records():
    """The group and the kind of every record in a version 2 report."""

    def records(packet):
        found = []
        record = packet[layers.ICMPv6MLReport2].records[0]
        while record:  # scapy makes each record the payload of the one before
            found.append((record.dst, record.rtype))
            record = record.payload
        return found

    return records

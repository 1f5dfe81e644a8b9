"""
Membership requests: `struct ip_mreq` is two addresses; eight octets more make it another structure.

    4s4s   group, local address            ip_mreq: 8 octets
    4sl    group, 4 of padding, a long     16 octets: the kernel reads group, address 0.0.0.0 and an interface index
"""

import errno
import socket
import struct
import sys

import pytest

from lab import groups

GROUP = groups.fresh()
INADDR_ANY = 0

pytestmark = pytest.mark.requirement("MCAST-11")


def group_and(pattern, value):
    """A request for the group, packed with the given format."""
    return struct.pack(pattern, socket.inet_aton(GROUP), value)


def as_number(address):
    """An address as the C type that holds it, in network order."""
    return int.from_bytes(socket.inet_aton(address), sys.byteorder)


@pytest.mark.parametrize("pattern", ["4sl", "=4sI"])
def test_unspecified_interface_is_chosen_by_route(receiver, pattern):
    """Packed with INADDR_ANY the request joins where the routing table leads: on the overlay device."""
    with receiver.member() as member:
        member.request(group_and(pattern, INADDR_ANY))
        joined = receiver.memberships()

    assert [device for device, groups in joined.items() if GROUP in groups] == [receiver.plan.device]


@pytest.mark.parametrize("network", ["overlay", "underlay"])
@pytest.mark.parametrize("pattern", ["4s4s", "=4sI"])
def test_address_names_the_interface(receiver, pattern, network):
    """Two addresses, eight octets: the request joins on the interface that has the second one."""
    address = receiver.address(network)
    value = socket.inet_aton(address) if pattern == "4s4s" else as_number(address)

    with receiver.member() as member:
        member.request(group_and(pattern, value))
        joined = receiver.memberships()

    assert [device for device, groups in joined.items() if GROUP in groups] == [receiver.plan.interface(network)]


def test_address_in_a_long_is_read_as_an_interface_index(receiver):
    """The article's '4sl' with a real address fails with ENODEV: on 64 bits the address is read as an index."""
    request = group_and("4sl", as_number(receiver.address()))

    with receiver.member() as member, pytest.raises(OSError) as refused:
        member.request(request, wait=True)

    assert errno.errorcode[refused.value.errno] == "ENODEV"

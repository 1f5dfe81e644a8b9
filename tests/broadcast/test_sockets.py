"""
Sockets and broadcast: which may send one, and which sockets of a host receive a copy (udp(7), socket(7)).

    sender: SO_BROADCAST or EACCES        receiver: bound to '', to 172.16.254.255, to its own address, several at once
"""

import errno

import pytest

from lab.model import LIMITED_BROADCAST


@pytest.mark.requirement("BCAST-04")
@pytest.mark.parametrize("spelling", ["directed", "limited"])
def test_sending_without_so_broadcast_is_refused(overlay, sender, everyone, listen, spelling):
    """Without SO_BROADCAST sendto fails with EACCES and nothing leaves; with it the same datagram arrives."""
    others = overlay.others(sender)
    to = everyone if spelling == "directed" else LIMITED_BROADCAST
    refused_payload = b"refused: SO_BROADCAST is not set"

    with listen(others) as heard:
        with pytest.raises(PermissionError) as refused:
            sender.udp.send(refused_payload, to=to, device=sender.plan.device, allow_broadcast=False, wait=True)
        sender.udp.send(to=to, device=sender.plan.device)

    assert refused.value.errno == errno.EACCES
    heard.exactly_once(at=others)
    assert overlay.frames([refused_payload]) == []


@pytest.mark.requirement("BCAST-06")
def test_socket_bound_to_its_own_address_receives_nothing(overlay, receiver, everyone, listen):
    """A socket bound to its host's overlay address never receives a broadcast, although the frame arrived."""
    sender = overlay[overlay.others(receiver)[-1]]

    with listen([receiver], bind=receiver.address()) as heard:
        sender.udp.send(to=everyone)

    heard.nothing(at=[receiver.name])
    assert [seen for seen in heard.sightings() if seen.node == receiver.name and not seen.outgoing]


@pytest.mark.requirement("BCAST-06")
def test_socket_bound_to_its_own_address_receives_unicast(overlay, receiver, listen):
    """A socket bound to its host's overlay address receives unicast to that address."""
    sender = overlay[overlay.others(receiver)[-1]]

    with listen([receiver], bind=receiver.address()) as heard:
        sender.udp.send(to=receiver.address())

    heard.exactly_once(at=[receiver.name])


@pytest.mark.requirement("BCAST-06")
@pytest.mark.parametrize("bound_to", ["any", "broadcast"])
def test_socket_bound_to_any_or_to_the_broadcast_address_receives(overlay, receiver, everyone, listen, bound_to):
    """A socket bound to '' or to the broadcast address itself receives one copy."""
    sender = overlay[overlay.others(receiver)[-1]]

    with listen([receiver], bind="" if bound_to == "any" else everyone) as heard:
        sender.udp.send(to=everyone)

    heard.exactly_once(at=[receiver.name])


@pytest.mark.requirement("BCAST-06")
@pytest.mark.parametrize("share", ["address", "port"], ids=["SO_REUSEADDR", "SO_REUSEPORT"])
def test_every_socket_on_the_port_receives_its_own_copy(overlay, receiver, everyone, listen, share):
    """Two sockets on one port each receive all of four datagrams: broadcast is copied, not distributed."""
    sender = overlay[overlay.others(receiver)[-1]]
    lines = [f"copy {number} for every socket".encode() for number in range(4)]

    with listen([receiver], share=share) as first:
        with listen([receiver], share=share, port=first.port) as second:
            sender.udp.send(lines, to=everyone)

    first.exactly_once(at=[receiver.name])
    second.exactly_once(at=[receiver.name])


@pytest.mark.requirement("BCAST-06")
def test_sockets_on_one_port_differ_by_their_binding(overlay, receiver, everyone, listen):
    """Of two sockets on one port, one bound to '' receives the broadcast, one bound to the host's address does not."""
    sender = overlay[overlay.others(receiver)[-1]]

    with listen([receiver], bind=receiver.address()) as own_address:
        with listen([receiver], port=own_address.port) as any_address:
            sender.udp.send(to=everyone)

    any_address.exactly_once(at=[receiver.name])
    own_address.nothing(at=[receiver.name])

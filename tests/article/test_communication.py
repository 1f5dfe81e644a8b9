"""
The article's table of communication: the kinds of traffic that pass on the cloud's network, and over the overlay.

                     underlay   overlay
    TCP unicast      yes        yes
    UDP unicast      yes        yes
    UDP multicast    no         yes
    UDP broadcast    no         yes

Every host sends, every other one listens.
"""

import pytest

from lab import groups

GROUP = groups.fresh()
DELIVERS_TO_MANY = {"underlay": False, "overlay": True}


def each_network(underlay, overlay):
    """The test on either network, with the requirements that it shows there."""
    return pytest.mark.parametrize(
        "network",
        [
            pytest.param("underlay", marks=pytest.mark.requirement(*underlay)),
            pytest.param("overlay", marks=pytest.mark.requirement(*overlay)),
        ],
    )


@pytest.fixture
def record(record_delivery, sender, overlay):
    """Records for each receiver what it received of a kind of traffic."""

    def note(kind, network, heard, expected):
        for name, delivered in heard.items():
            record_delivery(kind, sender, overlay[name], network=network, delivered=delivered, expected=expected)

    return note


@each_network(underlay=["UNDER-03"], overlay=["PRE-10"])
def test_tcp_unicast(overlay, sender, network, record, underlay_control):
    """A TCP connection carries a payload to every other host, on the underlay and over the overlay."""
    heard = {name: arrives_by_tcp(sender, overlay[name], network) for name in overlay.others(sender)}

    if network == "underlay":
        underlay_control((f"{sender} to {name}" for name, arrived in heard.items() if not arrived), "TCP")
    record("unicast", network, heard, expected=True)
    assert heard == dict.fromkeys(heard, True)


def arrives_by_tcp(sender, receiver, network):
    """Whether a payload arrives; a failed connection is a failed delivery."""
    try:
        return bool(sender.reaches_by_tcp(receiver, network))
    except OSError:
        return False


@each_network(underlay=["UNDER-03"], overlay=["PRE-10"])
def test_udp_unicast(overlay, sender, network, record, listen):
    """A datagram to each other host reaches only that host, on the underlay and over the overlay."""
    others = overlay.others(sender)

    with listen(others, network=network) as heard:
        sent = {name: [sender.udp.send(to=overlay[name].address(network)).payload] for name in others}

    record("unicast", network, {name: heard.payloads[name] == sent[name] for name in others}, expected=True)
    assert heard.payloads == sent


@pytest.mark.requirement("PRE-10")
def test_udp_unicast_from_and_to_every_host(overlay, every_pair, listen, record_delivery):
    """With any number of hosts, a datagram to one host reaches only that host, once; every host receives some."""
    with listen(overlay.hosts) as heard:
        sent = {
            pair: overlay[pair[0]].udp.send(to=overlay[pair[1]].address(), lost_if_refused=True).payload
            for pair in every_pair
        }

    copies = {(sender, to): heard.payloads[to].count(payload) for (sender, to), payload in sent.items()}
    for (sender, to), count in copies.items():
        record_delivery("unicast", overlay[sender], overlay[to], network="overlay", delivered=count > 0, expected=True)
    assert [f"{sender} to {to}: {count} copies" for (sender, to), count in copies.items() if count != 1] == []
    assert sum(map(len, heard.payloads.values())) == len(sent)


@each_network(underlay=["UNDER-02"], overlay=["MCAST-01"])
def test_udp_multicast(overlay, sender, network, record, listen):
    """A multicast reaches every member over the overlay, once, and none on the underlay."""
    others, delivered = overlay.others(sender), DELIVERS_TO_MANY[network]
    # on the overlay the article's route decides where it leaves; on the underlay it has to be said
    where = {"multicast_interface": sender.address("underlay")} if network == "underlay" else {}

    with listen(others, network=network, group=GROUP) as heard:
        sent = sender.udp.send(to=GROUP, **where)

    record("multicast", network, {name: sent.payload in heard.payloads[name] for name in others}, expected=delivered)
    heard.copies(dict.fromkeys(others, int(delivered)))
    assert heard.unproved == set(), "unicast on the same network does not arrive either: this proves nothing"


@each_network(underlay=["UNDER-01"], overlay=["BCAST-01", "BCAST-02"])
def test_udp_broadcast(overlay, sender, network, record, listen):
    """A broadcast reaches every other host over the overlay, once, and none on the underlay."""
    others, delivered = overlay.others(sender), DELIVERS_TO_MANY[network]

    with listen(others, network=network) as heard:
        sent = sender.udp.send(to=sender.plan.broadcast(network))

    record("broadcast", network, {name: sent.payload in heard.payloads[name] for name in others}, expected=delivered)
    heard.copies(dict.fromkeys(others, int(delivered)))
    assert heard.unproved == set(), "unicast on the same network does not arrive either: this proves nothing"

"""
ip6gretap: the same overlay over an underlay of IPv6.

    spoke1 ==[ IPv6 | destination options | GRE | Ethernet ]==> hub ==[ ... ]==> spoke2

Its defaults are not gretap's: a hop limit of 64 of its own, and an option that counts nested tunnels, which takes 8
octets and stands where filters look for GRE.
"""

import contextlib

import pytest

from fixtures.probes import carried, cloud_rules, layers
from fixtures.requirements import not_run
from lab import groups
from lab.stack.changes import link_del, link_set

pytestmark = [pytest.mark.requirement("V6-03"), pytest.mark.tunnel("gretap", "ip6gretap")]

GROUP = groups.fresh()  # which groups a host routes where is MCAST-08's business, not this module's
HOP_LIMIT, ENCAP_LIMIT = 64, 4
DESTINATION_OPTIONS, GRE = 60, 47
ENCAP_LIMIT_OPTION = 4  # RFC 2473 section 4.1.1: the option's type, which happens to be the default limit too
ETHERNET_MTU = 1500
UNUSED = 251  # the first of some host numbers that no VNIC has
MADE = {  # options of `ip link add` in addition to local and remote: the MTU on a NIC of 1500
    "as it comes": ("", 1434),
    "without the option": ("encaplimit none", 1442),
    "with a key": ("encaplimit none key 7", 1438),
}
NAMES = {"as it comes": "six1", "without the option": "six2", "with a key": "six3"}


@pytest.fixture
def over_ipv6(standing):
    """A lab whose tunnels use IPv6; `over_ipv6(routers=1)` as for `standing`."""

    def build(**fields):
        try:
            return standing(kind="ip6gretap", ttl=HOP_LIMIT, **fields)
        except OSError as refusal:
            if "ip6gretap" not in str(refusal):
                raise
            not_run("this kernel has no ip6gretap", "sudo modprobe ip6_gre")

    return build


@contextlib.contextmanager
def made_by_ip(host):
    """Tunnels created by `ip` on a NIC with an MTU of 1500, with its defaults; their links."""
    near = host.plan.underlay6
    lines = "\n".join(
        f"link add {NAMES[what]} type ip6gretap local {near.ip} remote {near.network[UNUSED + number]} {more}"
        for number, (what, (more, _)) in enumerate(MADE.items())
    )
    nic, mtu = host.plan.nic, host.node.link(host.plan.nic).mtu
    with host.node.changed(link_set(nic, mtu=ETHERNET_MTU), link_set(nic, mtu=mtu)):
        made = host.node.run("sh", "-c", f"ip -force -batch - <<'END'\n{lines}\nEND\n")
        try:
            if made["status"] is None:
                not_run("there is no ip", "apt-get install iproute2")
            assert made["status"] == 0, made["errors"]
            yield {what: host.node.link(name) for what, name in NAMES.items()}
        finally:
            for name in filter(host.node.has_link, NAMES.values()):
                host.node.apply(link_del(name))


def test_broadcast_reaches_every_other_node(over_ipv6, sender):
    """A broadcast of IPv4 is received by every other node once."""
    lab = over_ipv6()
    others = lab.others(sender)

    with lab.listen(others) as heard:
        lab[sender.name].udp.send(to=lab.everyone)

    heard.exactly_once(at=others)


def test_multicast_with_ttl_1_crosses_a_router(over_ipv6, sender):
    """Multicast with a TTL of 1 reaches every other node behind a router: the outer hop limit is not the TTL."""
    lab = over_ipv6(routers=1)
    others = lab.others(sender)

    with lab.listen(others, group=GROUP) as heard:
        lab[sender.name].udp.send(to=GROUP, ttl=1)

    heard.exactly_once(at=others)


def test_outer_packet_has_the_option_before_gre(over_ipv6, sender):
    """An outer packet has hop limit 64, then destination options with the limit of 4, then GRE."""
    lab = over_ipv6()
    host = lab[sender.name]

    with lab.listen(lab.others(sender)) as heard:
        host.udp.send(to=lab.everyone)

    sent = [
        one.outer
        for one in carried(heard.sightings())
        if (one.sighting.node, one.sighting.interface, one.sighting.outgoing) == (host.name, host.plan.nic, True)
    ]
    assert sent
    for outer in sent:
        header, options = outer[layers.IPv6], outer[layers.IPv6ExtHdrDestOpt]
        assert (header.src, header.hlim, header.nh) == (host.plan.endpoint, HOP_LIMIT, DESTINATION_OPTIONS)
        assert (options.options[0].otype, options.options[0].optdata) == (ENCAP_LIMIT_OPTION, bytes([ENCAP_LIMIT]))
        assert options.nh == GRE


def test_mtu_is_what_the_headers_leave(over_ipv6):
    """Every tunnel's MTU is the NIC's less the outer headers: 66 octets."""
    lab = over_ipv6()

    for spoke in lab.spokes:
        (tunnel, *_) = lab.topology.ports(spoke.name)
        left = spoke.node.link(spoke.plan.nic).mtu - spoke.node.link(tunnel).mtu
        assert (spoke.name, left) == (spoke.name, ETHERNET_MTU - MADE["as it comes"][1])


@pytest.mark.disruptive
def test_defaults_are_a_hop_limit_of_64_and_the_option(over_ipv6):
    """`ip link add type ip6gretap` has defaults hoplimit 64 and encaplimit 4; its MTU on 1500 is 1434, 1442, 1438."""
    spoke = over_ipv6().spokes[0]

    with made_by_ip(spoke) as links:
        mtus = {what: link.mtu for what, link in links.items()}
        default = links["as it comes"].details

    assert mtus == {what: mtu for what, (_, mtu) in MADE.items()}
    assert (default["ttl"], default["encap_limit"]) == (HOP_LIMIT, ENCAP_LIMIT)


@pytest.mark.disruptive
def test_a_cloud_that_drops_the_option_drops_the_overlay(over_ipv6):
    """Where the underlay drops destination options only tunnels with `encaplimit none` deliver."""
    dropping = cloud_rules.destination_options_rule()
    heard = {}

    for limit in (ENCAP_LIMIT, None):
        lab = over_ipv6(encap_limit=limit)
        with contextlib.ExitStack() as undoing:
            for name in lab.hosts:
                undoing.enter_context(lab.cloud.dropping(name, dropping))
            with lab.listen(lab.others("hub")) as listening:
                lab.hub.udp.send(to=lab.everyone)
        heard[limit] = {name for name, payloads in listening.payloads.items() if payloads}

    assert heard == {ENCAP_LIMIT: set(), None: set(lab.others("hub"))}

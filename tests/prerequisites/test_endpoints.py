"""
The two ends of every tunnel name each other, and the way to the other end is not the tunnel itself.

    hub gretap1 local 10.0.0.197 remote 10.0.0.25  <--->  spoke1 gretap1 local 10.0.0.25 remote 10.0.0.197

A GRE packet from an address that is no tunnel's remote comes back as ICMP 3/3 (port unreachable).
"""

from ipaddress import IPv4Interface

import pytest

from fixtures.areas.underlay import configured, refusals
from fixtures.probes import carried
from lab.stack.changes import addr_add, link_add, link_del, route_add
from lab.tunnels.gretap import gretap

PORT_UNREACHABLE = (3, 3)
NEXT = 1


@pytest.mark.requirement("PRE-08")
def test_the_ends_name_each_other(overlay):
    """Each tunnel leads to the other end's address on its NIC, and its local address, if pinned, is the host's own."""
    seen = configured(overlay)

    for tunnel in overlay.topology.tunnels:
        for end, other in (tunnel.ends, tunnel.ends[::-1]):
            local = seen[end.host].device(end.device).tunnel.local
            remotes = seen[end.host].remotes(end.device)
            own, wanted = (nic_address(overlay[one.host], seen) for one in (end, other))
            place = f"{end.host} {end.device}"

            assert wanted in remotes, f"{place} has the remote {', '.join(remotes) or 'nothing'}; expected {wanted}"
            assert local in (None, own), f"{place} has the local address {local}; expected {own}"


def nic_address(host, seen):
    """The address of a host's NIC that its tunnels use, which the NIC must have."""
    assert seen[host.name].device_with(host.plan.endpoint) == host.plan.nic
    return host.plan.endpoint


@pytest.mark.requirement("PRE-08")
def test_no_end_refuses_the_other(overlay, sender, everyone, listen):
    """A broadcast from each host arrives everywhere, and no tunnel's end answers it with an ICMP error."""
    with listen(overlay.others(sender)) as heard:
        sender.udp.send(to=everyone)

    heard.exactly_once(at=overlay.others(sender))
    assert refusals(overlay, sender, of_tunnels=True) == set()


def prefer_second_address(lab, spoke):
    """The spoke's NIC gets a second address, which its packets to the hub then bear."""
    second = spoke.plan.underlay.ip + NEXT
    lab.cloud.assign(spoke.name, second)
    lab.cloud.set_rules(spoke.name, source_check=False)
    spoke.node.apply(
        addr_add(spoke.plan.nic, str(IPv4Interface((second, 24)))),
        route_add(f"{lab.hub.address('underlay')}/32", spoke.plan.nic, source=str(second)),
    )
    return str(second)


@pytest.mark.disruptive
@pytest.mark.requirement("PRE-08")
@pytest.mark.tunnel("gretap")
@pytest.mark.usefixtures("one_way")
def test_another_source_address_makes_the_tunnel_one_way(build_lab):
    """A spoke that sends from another address than the hub's remote gets ICMP 3/3, and still receives from the hub."""
    lab = build_lab(local=False)
    spoke, others = lab.spokes[0], lab.others(lab.spokes[0])
    second = prefer_second_address(lab, spoke)

    with lab.listen(others) as out:
        spoke.udp.send(to=lab.everyone)
    with lab.listen([spoke]) as back:
        lab.hub.udp.send(to=lab.everyone)

    out.nothing(at=others)
    back.exactly_once(at=[spoke.name])
    assert ("hub", *PORT_UNREACHABLE) in refusals(lab, spoke)
    assert {frame.outer["IP"].src for frame in carried(out.sightings())} == {second}


@pytest.mark.disruptive
@pytest.mark.requirement("PRE-08")
@pytest.mark.tunnel("gretap")
def test_a_pinned_local_address_cures_it(build_lab):
    """With `local` pinned, a second address that the routing table prefers changes nothing."""
    lab = build_lab(local=True)
    spoke, others = lab.spokes[0], lab.others(lab.spokes[0])
    prefer_second_address(lab, spoke)

    with lab.listen(others) as heard:
        spoke.udp.send(to=lab.everyone)

    heard.exactly_once(at=others)


@pytest.mark.disruptive
@pytest.mark.requirement("PRE-08")
@pytest.mark.tunnel("gretap")
@pytest.mark.usefixtures("without_stp", "one_way")
def test_a_wrong_remote_on_the_hub_is_refused_and_unanswered(build_lab):
    """With a wrong remote on the hub, the spoke gets ICMP 3/3, and the hub resolves no MAC address."""
    lab = build_lab(local=False)
    spoke = lab.spokes[-1]
    port, wrong = lab.topology.port("hub", spoke.name), str(spoke.plan.underlay.ip + NEXT)
    lab.hub.node.apply(link_del(port), link_add(port, gretap(remote=wrong), master=lab.topology.bridge))

    with lab.listen(lab.others(spoke)) as out:
        spoke.udp.send(to=lab.everyone)
    with lab.listen([spoke]) as back:
        lab.hub.udp.send(to=lab.everyone)

    out.nothing(at=lab.others(spoke))
    back.nothing(at=[spoke.name])
    assert ("hub", *PORT_UNREACHABLE) in refusals(lab, spoke)
    sought = [entry for entry in lab.hub.node.read("neighbours") if entry.dst == wrong]
    assert [entry.state in ("incomplete", "failed") for entry in sought] == [True]


@pytest.mark.requirement("PRE-12")
def test_the_way_to_the_other_end_is_the_nic(overlay, sender, everyone, listen):
    """On each host the route to each tunnel's remote leaves by the NIC, and no tunnel counts a collision."""
    before = configured(overlay)

    with listen(overlay.others(sender)) as heard:
        sender.udp.send(to=everyone)

    heard.exactly_once(at=overlay.others(sender))
    for name, seen in configured(overlay).items():
        for device in map(seen.device, overlay.topology.ports(name)):
            assert {seen.device_to(remote) for remote in seen.remotes(device.name)} == {overlay[name].plan.nic}
            assert device.statistics["collisions"] == before[name].device(device.name).statistics["collisions"]


@pytest.mark.disruptive
@pytest.mark.usefixtures("one_way")
@pytest.mark.requirement("PRE-12")
@pytest.mark.tunnel("gretap")
def test_a_tunnel_that_is_its_own_way_delivers_nothing(build_lab):
    """With the route to the remote through the tunnel itself nothing leaves, and collisions and errors are counted."""
    lab = build_lab()
    spoke, others = lab.spokes[0], lab.others(lab.spokes[0])
    tunnel = lab.topology.port(spoke.name, "hub")
    spoke.node.apply(route_add(f"{lab.hub.address('underlay')}/32", tunnel))

    with lab.listen(others) as heard:
        sent = spoke.udp.send(to=lab.everyone)

    heard.nothing(at=others)
    used = [hop.start.device for hop in lab.topology.flooded(spoke.name) if hop.start.host == spoke.name]
    assert {seen.interface for seen in lab.frames([sent.payload])} == {spoke.plan.device, *used}
    counted = spoke.node.link(tunnel).statistics
    assert counted["collisions"] > 0
    assert counted["tx_errors"] > 0

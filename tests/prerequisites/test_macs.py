"""
All overlay MAC addresses are unique, the hub's ports included.

    spoke1 gretap1 (MAC a) --( hub: gretap1 (b), gretap2 (c) )-- spoke2 gretap2 (MAC d)       a, b, c, d all different

Clones of one image that name the device alike get one MAC from systemd (MACAddressPolicy=persistent), and broadcast
hides it.
"""

import pytest

from fixtures.areas.underlay import configured, shared
from lab.stack.changes import link_set

pytestmark = pytest.mark.requirement("PRE-10")


def test_no_mac_is_used_twice(overlay):
    """The spokes' devices and the hub's ports all have different MACs; only the bridge may share one of a port."""
    seen, hub = configured(overlay), overlay.hub.name
    ends = [end for tunnel in overlay.topology.tunnels for end in tunnel.ends]
    # the tunnels of a bond or a PRP device have its MAC address
    one = {host.name: host.plan.device for host in overlay.spokes if host.plan.holder in ("bond", "prp")}
    devices = {(end.host, one.get(end.host, end.device)) for end in ends}
    macs = {f"{host} {device}": seen[host].device(device).mac for host, device in sorted(devices)}
    bridge = seen[hub].device(overlay.topology.bridge).mac

    assert shared(macs) == {}
    assert [place for place, mac in macs.items() if mac == bridge and not place.startswith(f"{hub} ")] == []


def test_unicast_works_between_every_two_hosts(overlay, sender, listen):
    """Unicast to a host reaches only that host, which a duplicate MAC prevents."""
    with listen(overlay.others(sender)) as heard:
        sent = {name: [sender.udp.send(to=overlay[name].address()).payload] for name in heard.at}

    assert heard.payloads == sent


def clone(one, other):
    """Two spokes from one image: the second one's overlay devices get the MAC of the first one."""
    mac = one.node.link(one.plan.device).mac
    other.node.apply(*(link_set(device, address=mac) for device in other.topology.devices(other.name)))


@pytest.mark.disruptive
@pytest.mark.tunnel("vxlan")
@pytest.mark.usefixtures("one_way")
def test_one_mac_on_two_vxlan_spokes_kills_broadcast_too(build_lab):
    """A VXLAN device drops frames from its own MAC: two spokes with one MAC receive nothing from each other."""
    lab = build_lab()
    one, other = lab.spokes[0], lab.spokes[-1]
    clone(one, other)

    with lab.listen(lab.others(one)) as heard:
        sent = one.udp.send(to=lab.everyone)

    assert heard.payloads == {**{name: [sent.payload] for name in lab.others(one)}, other.name: []}


@pytest.mark.disruptive
@pytest.mark.tunnel("gretap")
@pytest.mark.usefixtures("one_way")
def test_one_mac_on_two_spokes_kills_unicast_between_them(build_lab):
    """Two spokes with one MAC receive every broadcast and answer every broadcast ping, but cannot reach each other."""
    lab = build_lab()
    one, other = lab.spokes[0], lab.spokes[-1]
    clone(one, other)

    with lab.listen(lab.others(one)) as heard:
        one.udp.send(to=lab.everyone)
    answers = lab.hub.ping(lab.everyone)

    heard.exactly_once(at=lab.others(one))
    answers.exactly_once_by(lab.hosts)
    assert one.ping(other.address()).others == {}
    assert one.ping(lab.hub.address()).others == {"hub": 1}


@pytest.mark.disruptive
@pytest.mark.usefixtures("one_way")
def test_the_hub_ports_mac_on_a_spoke_kills_its_unicast(build_lab):
    """A spoke with the MAC of a hub's port receives broadcasts, but no unicast through the hub."""
    lab = build_lab()
    spoke, other = lab.spokes[0], lab.spokes[-1]
    port = lab.topology.port("hub", other.name)
    spoke.node.apply(link_set(spoke.plan.device, address=lab.hub.node.link(port).mac))

    with lab.listen([spoke]) as heard:
        other.udp.send(to=lab.everyone)

    heard.exactly_once(at=[spoke.name])
    assert lab.hub.ping(spoke.address()).others == {}
    assert other.ping(spoke.address()).others == {}

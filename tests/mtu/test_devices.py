"""
The MTU of the overlay's devices: the NIC's, less the tunnel's headers; the same on all hosts.

    NIC 9000 = outer IP 20 + GRE 4 + inner Ethernet 14 + 8962          key, csum, seq: 4 octets each
               outer IP 20 + UDP 8 + VXLAN or Geneve 8 + inner Ethernet 14 + 8950
               outer IPv6 40 + options 8 + GRE 4 + inner Ethernet 14 + 8934
"""

import pytest

from fixtures.areas.underlay import configured, device_errors
from lab.stack.changes import link_set

HEADERS = {"gretap": 38, "vxlan": 50, "geneve": 50, "ip6gretap": 66}
CLOUDS = {1500: 1462, 1460: 1422, 9000: 8962, 9001: 8963, 8500: 8462, 8896: 8858}  # of NICs, and of gretaps on them
OPTIONS = {  # on a NIC with 1500
    1462: {},
    1458: {"key": 7},
    1454: {"key": 7, "checksum": True},
    1450: {"key": 7, "checksum": True, "sequence": True},
}
TOLERANCE = 4  # octets above its MTU that a bridge's port may let pass: room for a VLAN tag (br_forward.c)
IP_AND_UDP = 28
LESS = 100


def room(lab, nic):
    """A NIC's MTU less the tunnel's headers."""
    options = lab.topology.options
    numbered = options.kind in ("vxlan", "geneve")
    words = 0 if numbered else sum((options.key is not None, options.checksum, options.sequence))
    return nic - HEADERS[options.kind] - 4 * words


def tunnel_ends(lab):
    """Both ends of every tunnel: (host, device)."""
    ends = {(end.host, end.device) for tunnel in lab.topology.tunnels for end in tunnel.ends}
    return [(lab[name], device) for name, device in sorted(ends)]


def of(host, device):
    """A device's MTU."""
    return host.node.link(device).mtu


@pytest.mark.requirement("MTU-01")
def test_every_tunnel_takes_what_its_nic_leaves(overlay):
    """No tunnel end's MTU exceeds its NIC's less the overhead, and none is below it unless all are."""
    seen = configured(overlay)
    rooms = {name: room(overlay, seen[name].device(host.plan.nic).mtu) for name, host in overlay.hosts.items()}
    sizes = {(host.name, device): seen[host.name].device(device).mtu for host, device in tunnel_ends(overlay)}
    common = set(sizes.values()) if len(set(sizes.values())) == 1 else ()  # all smaller: the MTU chosen for the path
    least = min(*rooms.values(), *common)

    wrong = {f"{name} {device}": size for (name, device), size in sizes.items() if not least <= size <= rooms[name]}

    assert wrong == {}, f"the NICs have room for {rooms}"


@pytest.mark.requirement("MTU-01")
@pytest.mark.disruptive
class TestNewTunnel:
    def test_leaves_room_for_its_headers(self, build_lab):
        """A tunnel on the NIC of any cloud has its MTU less 38 octets, 50 (VXLAN, Geneve) or 66 (ip6gretap)."""
        lab = build_lab()
        hub, spoke, taken = lab.hub, lab.spokes[0], HEADERS[lab.topology.options.kind]
        made = {}

        for nic in CLOUDS:
            hub.node.apply(link_set(hub.plan.nic, mtu=nic))
            lab.remake_tunnel(hub, spoke)
            made[nic] = of(hub, lab.topology.port(hub.name, spoke.name))

        assert made == {nic: gretap + HEADERS["gretap"] - taken for nic, gretap in CLOUDS.items()}

    @pytest.mark.tunnel("gretap")
    def test_leaves_room_for_its_options(self, build_lab):
        """Key, checksum and sequence number reduce the MTU by 4 octets each."""
        lab = build_lab()
        hub, spoke, made = lab.hub, lab.spokes[0], []
        hub.node.apply(link_set(hub.plan.nic, mtu=1500))

        for options in OPTIONS.values():
            lab.remake_tunnel(hub, spoke, **options)
            made.append(of(hub, lab.topology.port(hub.name, spoke.name)))

        assert made == list(OPTIONS)

    def test_does_not_follow_its_nic(self, build_lab):
        """A change of the NIC's MTU leaves the tunnel's MTU unchanged: too large now, or too small."""
        lab = build_lab()
        spoke = lab.spokes[0]
        before = of(spoke, spoke.plan.device)

        for change in (-LESS, LESS):
            spoke.node.apply(link_set(spoke.plan.nic, mtu=room(lab, of(spoke, spoke.plan.nic)) + change))
            assert of(spoke, spoke.plan.device) == before


@pytest.mark.requirement("MTU-05")
def test_all_devices_of_the_overlay_agree(overlay):
    """Both ends of every tunnel, and every host's device with the overlay address, have one MTU."""
    seen = configured(overlay)
    own = [(host, host.plan.device) for host in overlay.hosts.values()]
    alike = [[*own, *tunnel_ends(overlay)]]
    if overlay.topology.doubled:  # a PRP device takes less than its tunnels, and so do the hosts that it sends to
        alike = [own, tunnel_ends(overlay)]

    for devices in alike:
        mtus = {f"{host} {device}": seen[host.name].device(device).mtu for host, device in devices}
        assert mtus == dict.fromkeys(mtus, next(iter(mtus.values())))


@pytest.mark.requirement("MTU-05")
@pytest.mark.disruptive
@pytest.mark.usefixtures("one_way")
class TestSmallerPort:
    @pytest.fixture
    def small(self, mutable_lab, spoke2):
        """The hub's port to spoke2 with a smaller MTU than all others."""
        port, full = mutable_lab.topology.port("hub", spoke2.name), of(spoke2, spoke2.plan.device)
        small, back = (link_set(port, mtu=octets) for octets in (full - LESS, full))
        with mutable_lab.hub.node.changed(small, back):
            yield full - LESS

    @pytest.mark.tunnel("gretap", "vxlan", "geneve")  # ip6gretap counts its headers too
    def test_loses_larger_frames_without_a_word(self, mutable_lab, small, spoke1, spoke2, everyone, listen):
        """A spoke whose hub port has a small MTU receives only datagrams that fit; the sender gets no error."""
        passing = [small - 1, small]
        too_large = [small + TOLERANCE + 1, small + LESS]
        before = device_errors(mutable_lab, spoke1), spoke1.node.counters()

        with listen(["hub", spoke2]) as heard:
            sent = [spoke1.udp.send(to=everyone, size=octets - IP_AND_UDP).payload for octets in passing + too_large]

        after = device_errors(mutable_lab, spoke1), spoke1.node.counters()
        assert heard.payloads == {"hub": sent, spoke2.name: sent[: len(passing)]}
        assert after[0] == before[0]
        assert after[1]["IcmpInDestUnreachs"] == before[1]["IcmpInDestUnreachs"]

    def test_takes_the_bridge_with_it(self, mutable_lab, small):
        """The bridge takes the smallest MTU of its ports: the hub's own packets are fragmented to fit."""
        assert of(mutable_lab.hub, mutable_lab.topology.bridge) == small

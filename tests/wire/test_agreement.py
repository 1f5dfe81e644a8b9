"""
Options that both ends of a tunnel must agree on, and the errors when they do not.

    hub gretap1  key 42  ----x---- no key   gretap1  spoke1      ICMP 3/3 comes back, no counter moves
    hub gretap2  csum    ----x---- no csum  gretap2  spoke2      dropped at the receiver: RX crc errors
    hub gretap3  seq     --------> no seq   gretap3  spoke3      arrives
                         x-------- no seq                        dropped at the receiver: RX fifo errors
"""

import pytest

from fixtures.probes import carried, decode, exchange, layers

pytestmark = pytest.mark.tunnel("gretap")

KEY, OTHER_KEY = 42, 43
KEY_PRESENT = bytes.fromhex("20006558")
PORT_UNREACHABLE = (3, 3)


def refusals(lab, host):
    """The (type, code) of the ICMP errors about GRE that arrived at a host's NIC."""
    frames = [
        decode(one)
        for one in lab.frames()
        if (one.node, one.interface, one.outgoing) == (host.name, host.plan.nic, False) and one.carrier is None
    ]
    return {(packet[layers.ICMP].type, packet[layers.ICMP].code) for packet in frames if layers.ICMP in packet}


def errors(host, device):
    """A device's error counters."""
    return {name: count for name, count in host.node.statistics(device).items() if "error" in name or "dropped" in name}


class TestKey:
    pytestmark = pytest.mark.requirement("WIRE-07")

    @pytest.mark.usefixtures("frames_alone")
    def test_is_carried_in_a_header_of_eight_octets(self, standing):
        """With `key 42` the K bit is set, the key follows, and the inner frame begins after eight octets."""
        lab = standing(key=KEY)
        spoke = lab.spokes[0]

        with lab.listen(lab.others(spoke)) as heard:
            spoke.udp.send(to=lab.everyone)

        seen = carried(heard.sightings())
        assert {bytes(one.outer[layers.IP].payload)[:8] for one in seen} == {KEY_PRESENT + KEY.to_bytes(4, "big")}
        assert {one.outer[layers.IP].len - one.inner[layers.IP].len for one in seen} == {42}

    def test_equal_keys_deliver(self, standing):
        """Between ends with the same key broadcast arrives, exactly once, from every node."""
        lab = standing(key=KEY)

        assert exchange(lab) == {name: set(lab.others(name)) for name in lab.hosts}

    def test_takes_four_octets_of_the_mtu(self, standing):
        """The key's four octets are taken from the overlay's MTU on every tunnel device."""
        plain, keyed = standing(), standing(key=KEY)

        mtus = [
            {spoke.name: spoke.node.link(lab.topology.port(spoke.name, "hub")).mtu for spoke in lab.spokes}
            for lab in (plain, keyed)
        ]

        assert mtus[1] == {name: mtu - 4 for name, mtu in mtus[0].items()}

    @pytest.mark.disruptive
    @pytest.mark.usefixtures("one_way")
    def test_unequal_keys_never_match(self, build_lab):
        """A key facing none, none facing a key, and another key: nothing passes, and both ends receive ICMP 3/3."""
        lab = build_lab(spokes=4)
        mismatched = {"spoke1": (KEY, None), "spoke2": (None, KEY), "spoke3": (KEY, OTHER_KEY)}
        for name, (at_hub, at_spoke) in mismatched.items():
            lab.remake_tunnel(lab.hub, lab[name], key=at_hub)
            lab.remake_tunnel(lab[name], lab[name], key=at_spoke)
        tunnels = [lab.topology.tunnel("hub", name) for name in mismatched]
        ends = [(lab[end.host], end.device) for tunnel in tunnels for end in tunnel.ends]
        before = [errors(*end) for end in ends]

        heard = exchange(lab)

        well = set(lab.hosts) - set(mismatched)
        assert heard == {name: well - {name} if name in well else set() for name in lab.hosts}
        refused = {name: refusals(lab, lab[name]) for name in ("hub", *mismatched)}
        assert refused == {name: {PORT_UNREACHABLE} for name in ("hub", *mismatched)}
        assert [errors(*end) for end in ends] == before


class TestChecksum:
    pytestmark = pytest.mark.requirement("WIRE-08")

    def test_on_both_ends_delivers(self, standing):
        """With csum on both ends broadcast arrives from every node."""
        lab = standing(checksum=True)

        assert exchange(lab) == {name: set(lab.others(name)) for name in lab.hosts}

    @pytest.mark.disruptive
    @pytest.mark.usefixtures("one_way")
    @pytest.mark.parametrize("on_the_hub", [True, False], ids=["hub_only", "spoke_only"])
    def test_on_one_end_is_dropped_and_counted(self, build_lab, on_the_hub):
        """With csum on one end nothing passes in either direction, and both ends count RX crc errors."""
        lab = build_lab()
        spoke = lab.spokes[-1]
        lab.remake_tunnel(lab.hub if on_the_hub else spoke, spoke, checksum=True)

        heard = exchange(lab)

        assert heard[spoke.name] == set()
        assert heard["hub"] == set(lab.others("hub")) - {spoke.name}
        assert lab.hub.node.statistics(lab.topology.port("hub", spoke.name))["rx_crc_errors"] > 0
        assert spoke.node.statistics(lab.topology.port(spoke.name, "hub"))["rx_crc_errors"] > 0


class TestSequence:
    pytestmark = pytest.mark.requirement("WIRE-08")

    def test_on_both_ends_delivers(self, standing):
        """With seq on both ends broadcast arrives from every node."""
        lab = standing(sequence=True)

        assert exchange(lab) == {name: set(lab.others(name)) for name in lab.hosts}

    @pytest.mark.disruptive
    @pytest.mark.usefixtures("one_way")
    @pytest.mark.parametrize("on_the_hub", [True, False], ids=["hub_only", "spoke_only"])
    def test_on_one_end_only_that_end_drops(self, build_lab, on_the_hub):
        """An end with seq drops packets without it and counts RX fifo errors; an end without accepts either."""
        lab = build_lab()
        spoke = lab.spokes[-1]
        strict, lenient = (lab.hub, spoke) if on_the_hub else (spoke, lab.hub)
        lab.remake_tunnel(strict, spoke, sequence=True)
        device = {end.host: end.device for end in lab.topology.tunnel("hub", spoke.name).ends}

        heard = exchange(lab)

        assert strict.name in heard[lenient.name]
        assert lenient.name not in heard[strict.name]
        assert strict.node.statistics(device[strict.name])["rx_fifo_errors"] > 0
        assert lenient.node.statistics(device[lenient.name])["rx_fifo_errors"] == 0

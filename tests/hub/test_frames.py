"""
Which frames the hub's bridge forwards: whatever is Ethernet, but for the addresses that end at a bridge.

    spoke1 --raw frame--> ( hub: bridge0 ) --?--> spoke2        01-80-C2-00-00-01 to -0F end here (802.1D 7.12.6)
"""

import secrets

import pytest

from lab.stack.changes import bridge, link_set

pytestmark = [pytest.mark.requirement("HUB-07"), pytest.mark.disruptive]

EXPERIMENTAL = bytes.fromhex("88b5")  # IEEE Std 802, local experimental
BROADCAST = "ff:ff:ff:ff:ff:ff"
RESERVED = [f"01:80:c2:00:00:{last:02x}" for last in range(1, 16)]
STP, LLDP = "01:80:c2:00:00:00", "01:80:c2:00:00:0e"
BEYOND = {"bridge management": "01:80:c2:00:00:10", "MVRP": "01:80:c2:00:00:21", "CDP": "01:00:0c:cc:cc:cc"}
LLDP_BIT, STP_PAUSE_LACP_BITS = 0x4000, 0x0007
ETHERTYPES = {"ARP": "0806", "IPX": "8137", "PROFINET": "8892", "EtherCAT": "88a4", "PTP": "88f7", "own": "88b5"}
TAGS = {"untagged": b"", "802.1Q": bytes.fromhex("81000064"), "802.1ad": bytes.fromhex("88a80064")}


@pytest.fixture
def across(overlay, spoke1, spoke2):
    """Sends frames (destination, octets from the EtherType on) from spoke1; returns for each whether spoke2 got it."""

    def send(*frames):
        source = spoke1.node.link(spoke1.plan.device).mac
        tags = [secrets.token_bytes(32) for _ in frames]
        sent = [
            bytes.fromhex((destination + source).replace(":", "")) + body + tag
            for (destination, body), tag in zip(frames, tags, strict=True)
        ]
        with overlay.listen([spoke2]) as heard:
            for frame in sent:
                spoke1.send_frame(spoke1.entry_device, frame)
            spoke1.udp.send(to=overlay.everyone)
        heard.exactly_once(at=[spoke2.name])
        place = (spoke2.name, spoke2.entry_device, False)
        arrived = [one.frame for one in overlay.frames(tags) if (one.node, one.interface, one.outgoing) == place]
        assert set(arrived) <= set(sent), "a frame was altered on its way"
        assert len(arrived) == len(set(arrived)), "a frame was doubled on its way"
        return [frame in arrived for frame in sent]

    return send


@pytest.fixture
def group_forwarding(mutable_lab):
    """Sets the bridge's group_fwd_mask for a `with` block."""

    def mask(value):
        device = mutable_lab.topology.bridge
        change, undo = (link_set(device, bridge(group_fwd_mask=bits)) for bits in (value, 0))
        return mutable_lab.hub.node.changed(change, undo)

    return mask


@pytest.mark.parametrize("tag", TAGS.values(), ids=TAGS.keys())
@pytest.mark.usefixtures("frames_alone")
def test_any_ethertype_passes(across, tag):
    """A frame passes unaltered whatever its EtherType is, with a VLAN tag and without."""
    passed = across(*((BROADCAST, tag + bytes.fromhex(ethertype)) for ethertype in ETHERTYPES.values()))

    assert dict(zip(ETHERTYPES, passed, strict=True)) == dict.fromkeys(ETHERTYPES, True)


@pytest.mark.usefixtures("frames_alone")
def test_group_addresses_beyond_the_reserved_pass(across):
    """A frame to a group address that is not reserved for the link passes."""
    passed = across(*((destination, EXPERIMENTAL) for destination in BEYOND.values()))

    assert dict(zip(BEYOND, passed, strict=True)) == dict.fromkeys(BEYOND, True)


def test_reserved_addresses_end_at_the_hub(across):
    """A frame to one of the fifteen addresses reserved for the link does not reach another spoke."""
    passed = across(*((destination, EXPERIMENTAL) for destination in RESERVED))

    assert [destination for destination, arrived in zip(RESERVED, passed, strict=True) if arrived] == []


@pytest.mark.usefixtures("without_stp", "frames_alone")
def test_spanning_trees_address_passes_while_the_hub_does_not_speak_it(across):
    """A frame to 01-80-C2-00-00-00 passes the bridge, whose STP is off."""
    assert across((STP, EXPERIMENTAL)) == [True]


@pytest.mark.usefixtures("without_stp", "frames_alone")
def test_lldp_passes_on_request(across, group_forwarding):
    """With group_fwd_mask 0x4000 the bridge forwards LLDP, and of the reserved addresses no other."""
    with group_forwarding(LLDP_BIT):
        passed = across(*((destination, EXPERIMENTAL) for destination in RESERVED))

    assert [destination for destination, arrived in zip(RESERVED, passed, strict=True) if arrived] == [LLDP]


def test_mask_admits_neither_stp_nor_pause_nor_lacp(group_forwarding):
    """The kernel rejects bits 0 to 2 of group_fwd_mask: STP, flow control and aggregation end at every bridge."""
    with pytest.raises(OSError, match="Invalid argument"), group_forwarding(STP_PAUSE_LACP_BITS):
        pass

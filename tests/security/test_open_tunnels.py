"""
No tunnel accepts packets from any address: not the driver's own, none without a remote, no `external` one.

    x 10.0.0.66 --[GRE [frame]]--> hub gretap0 (up): whatever no other tunnel takes comes out of it
"""

import secrets
from ipaddress import ip_address

import pytest

from fixtures.areas.underlay import configured
from lab.stack.changes import filter_add, link_set

pytestmark = pytest.mark.requirement("SEC-03")

FALLBACK, MAC = "gretap0", "02:00:00:00:ff:00"
DROP = [(0x06, 0, 0, 2)]  # classic BPF: TC_ACT_SHOT for every frame
KINDS = ("gre", "gretap", "erspan", "ip6gre", "ip6gretap", "ip6erspan", "vxlan", "geneve")
BY_NUMBER = ("vxlan", "geneve")
REMOTES = ("remote", "remote6", "group", "group6")


def test_every_tunnel_that_is_up_has_a_remote(overlay):
    """Each host's tunnels are up with a remote, and no other tunnel is up that accepts any source."""
    ends = {(end.host, end.device) for tunnel in overlay.topology.tunnels for end in tunnel.ends}
    remotes = {
        (name, device.name): [*(device.details.get(key) for key in REMOTES), *seen.remotes(device.name)]
        for name, seen in configured(overlay).items()
        for device in seen.devices.values()
        if device.kind in KINDS
        and device.up
        # another program's takes its own port and VNI alone
        and (device.kind not in BY_NUMBER or (name, device.name) in ends or device.master)
    }

    assert ends - set(remotes) == set()
    assert [end for end, found in remotes.items() if not any(map(is_one, found))] == []


def is_one(remote):
    """Whether a tunnel's remote is a host, and not missing or the unspecified address."""
    return bool(remote) and not ip_address(remote).is_unspecified


@pytest.fixture
def stranger_heard_by(outside, forged):
    """The hosts that receive a frame that a VM outside the overlay sends to the hub in GRE, from its own address."""
    lab, stranger = outside
    last, to = lab.spokes[-1], lab.hub.address("underlay")

    def send():
        tag = secrets.token_hex(16).encode()
        with lab.listen(lab.hosts) as heard:
            source = stranger.address("underlay")
            stranger.send_packet(forged(lab, tag, heard.port, of=lab.spokes[0], source=source, to=to), to)
            assert stranger.ping(to, network="underlay").counts == {"hub": 1}
            proof = last.udp.send(to=lab.everyone).payload
        assert all(proof in payloads for payloads in heard.payloads.values())
        return {name for name, payloads in heard.payloads.items() if tag in payloads}

    return send


@pytest.mark.disruptive
@pytest.mark.tunnel("gretap")
class TestFallback:
    """gretap0, which the driver creates in every namespace, up on the hub."""

    def test_up_takes_from_a_stranger(self, outside, stranger_heard_by):
        """gretap0, if it is up, delivers a stranger's frame to the hub's sockets; down, the default, it does not."""
        before = stranger_heard_by()
        hub = outside[0].hub.node
        hub.apply(link_set(FALLBACK, address=MAC, up=True))
        hub.write_sysctls({f"net.ipv4.conf.{name}.rp_filter": 0 for name in ("all", FALLBACK)})

        assert (before, stranger_heard_by()) == (set(), {"hub"})

    @pytest.mark.usefixtures("without_stp")
    def test_bridged_gives_it_to_all(self, outside, stranger_heard_by):
        """gretap0 as a port of the bridge delivers a stranger's frame to the hub and to every spoke."""
        lab, _ = outside
        # it only receives here: what is flooded to it goes, in GRE, to the address inside, which the bridge has: a
        # recursion that crashes a 6.1 kernel
        lab.hub.node.apply(
            filter_add(FALLBACK, "egress", program=DROP, name="receive only"),
            link_set(FALLBACK, address=MAC, master=lab.topology.bridge, up=True),
        )

        assert stranger_heard_by() == {"hub", *lab.others("hub")}

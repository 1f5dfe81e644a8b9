"""
VRRP over the overlay: two spokes share one address, and advertisements across the hub decide which one has it.

    spoke1: keepalived 150 --224.0.0.18-->( hub: bridge0 )<--224.0.0.18-- keepalived 100 :spoke2
"""

import socket
from ipaddress import IPv4Address

import pytest

from fixtures.areas.applications import vrrp
from fixtures.probes import await_frames
from lab.stack.changes import link_set

pytestmark = pytest.mark.disruptive
PREFERRED, OTHER = 150, 100  # priorities
MARGIN = 1.0  # seconds that a busy machine may add to a timer
HEARD_WITHIN = 5.0  # seconds for a frame; a tenth in practice
ARP = b"\x08\x06"
NANOSECONDS = 1_000_000_000


@pytest.fixture
def routers(build_lab):
    """A lab of two spokes, and the spokes: the preferred one, the other."""
    lab = build_lab(spokes=2)
    return lab, *lab.spokes


def elect(lab, preferred, other):
    """Starts keepalived on both; returns when only the preferred one has the address, and keeps it."""
    vrrp.take_part(preferred, PREFERRED)
    vrrp.take_part(other, OTHER)
    vrrp.await_owners([preferred, other], {preferred.name})
    # a backup that receives no advertisements takes the address over only after the time of several of them
    so_far = vrrp.await_advertisements(preferred, lab.hub, 1)
    vrrp.await_advertisements(preferred, lab.hub, len(so_far) + vrrp.patience(OTHER))
    vrrp.await_owners([preferred, other], {preferred.name})


def arrived(sightings, at):
    """The sightings of frames that arrived at a host's overlay device."""
    return [one for one in sightings if (one.node, one.interface, one.outgoing) == (at.name, at.plan.device, False)]


def answers_at(lab, address, host):
    """Whether the hub reaches the address at that host, once the host has claimed it."""
    mac = bytes.fromhex(host.node.link(host.plan.device).mac.replace(":", ""))
    claim = [(6, mac), (12, ARP)]
    tag = socket.inet_aton(address)
    await_frames(lab.hub, lab.hub.plan.device, claim, tag=tag, count=1, timeout=HEARD_WITHIN)
    answers = lab.hub.ping(address)
    replies = [one for one in arrived(lab.frames(), lab.hub) if one.frame[6:12] == mac and tag == one.frame[26:30]]
    return dict(answers.counts) == {address: 1} and len(replies) > 0


@pytest.mark.requirement("APP-03")
def test_the_preferred_spoke_is_elected(routers):
    """Only the spoke with the higher VRRP priority has the virtual address, and the hub reaches it there."""
    lab, preferred, other = routers

    elect(lab, preferred, other)

    assert answers_at(lab, vrrp.virtual_address(preferred), preferred)


@pytest.mark.requirement("APP-03")
def test_advertisements_cross_the_hub(routers):
    """The other spoke receives the master's advertisements to 224.0.0.18 with TTL 255, all of them by the overlay."""
    lab, preferred, other = routers
    elect(lab, preferred, other)
    lab.forget()

    vrrp.await_advertisements(preferred, other, 3)

    seen = vrrp.advertisements(lab.frames())
    assert {(one.node, one.interface) for one in seen} == inside(lab)
    assert {one.frame[26:30] for one in arrived(seen, other)} == {IPv4Address(preferred.address()).packed}


def inside(lab):
    """Every device of the overlay."""
    ports = {(lab.hub.name, port) for port in lab.topology.ports("hub")}
    return ports | {(host.name, host.plan.device) for host in lab.hosts.values()}


@pytest.mark.requirement("APP-04")
def test_the_other_takes_over_and_gives_back(routers):
    """While the master's tunnel is down the other spoke is master, at the latest after its master-down time."""
    lab, preferred, other = routers
    both = [preferred, other]
    elect(lab, preferred, other)
    down, up = (link_set(preferred.plan.device, up=state) for state in (False, True))

    with preferred.node.changed(down, up):
        vrrp.await_owners(both, {other.name})
        assert answers_at(lab, vrrp.virtual_address(other), other)
        seen = vrrp.advertisements(lab.frames())
    vrrp.await_owners(both, {preferred.name})

    last_heard = max(one.time for one in arrived(seen, other))
    first_sent = min(one.time for one in seen if one.node == other.name and one.outgoing and one.time > last_heard)
    assert (first_sent - last_heard) / NANOSECONDS <= vrrp.master_down(OTHER) + MARGIN


@pytest.mark.requirement("APP-04")
def test_a_detached_port_splits_the_brain_and_its_return_heals_it(routers):
    """With one spoke's tunnel not bridged both spokes have the virtual address; with it bridged, the preferred one."""
    lab, preferred, other = routers
    both = [preferred, other]
    elect(lab, preferred, other)
    port = lab.topology.port("hub", preferred.name)
    out = link_set(port, nomaster=True)
    back = link_set(port, master=lab.topology.bridge)

    with lab.hub.node.changed(out, back):
        vrrp.await_owners(both, {preferred.name, other.name})
    vrrp.await_owners(both, {preferred.name})

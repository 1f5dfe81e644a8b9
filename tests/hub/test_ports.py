"""
The hub's ports: a tunnel delivers only if it is a port of the bridge.

    spoke1 --tunnel1--( hub: bridge0 )   tunnel2-- spoke2        tunnel2 without `master bridge0`
"""

import pytest

from fixtures.areas.underlay import port_flags
from fixtures.probes import exchange
from lab import groups
from lab.stack.changes import bridge_port, link_set

GROUP = groups.fresh()  # which groups a host routes where is MCAST-08's business, not this module's


def all_but(lab, name, heard_by_hub=frozenset()):
    """The expected deliveries when one spoke is cut off, without the hub's own copies of that spoke's broadcast."""
    well = set(lab.hosts) - {name}
    cut_off = {host: well - {host} if host in well else set() for host in lab.hosts}
    return {**cut_off, "hub": cut_off["hub"] | heard_by_hub}


@pytest.fixture
def detached(mutable_lab):
    """The last spoke's tunnel not bridged, at a hub and spokes without reverse path filter: (lab, spoke)."""
    spoke = mutable_lab.spokes[-1]
    port = mutable_lab.topology.port("hub", spoke.name)
    out = link_set(port, nomaster=True)
    back = link_set(port, master=mutable_lab.topology.bridge)
    node = mutable_lab.hub.node
    with node.with_sysctl("net.ipv4.conf.all.rp_filter", 0), node.with_sysctl(f"net.ipv4.conf.{port}.rp_filter", 0):
        with node.changed(out, back):
            yield mutable_lab, spoke


@pytest.mark.requirement("HUB-02")
def test_every_tunnel_is_a_forwarding_port(overlay):
    """Each of the hub's tunnels has bridge0 as its master and forwards."""
    for name, port in port_flags(overlay).items():
        assert (name, port.master, port.state) == (name, overlay.topology.bridge, "forwarding")


@pytest.mark.requirement("HUB-02")
def test_every_node_receives_from_every_other(overlay):
    """With every tunnel in the bridge, each node's broadcast is received by all others."""
    assert exchange(overlay) == {name: set(overlay.others(name)) for name in overlay.hosts}


@pytest.mark.requirement("HUB-02")
@pytest.mark.disruptive
@pytest.mark.usefixtures("one_way")
class TestDetachedPort:
    def test_cuts_its_spoke_off_though_the_hub_receives_from_it(self, detached):
        """A spoke whose tunnel is not bridged receives nothing; of its broadcast only the hub receives a copy."""
        lab, spoke = detached

        assert exchange(lab) == all_but(lab, spoke.name, heard_by_hub={spoke.name})

    def test_is_deaf_to_it_with_strict_reverse_path_filtering(self, detached):
        """With rp_filter=1 the hub does not receive the broadcast of a spoke whose tunnel is not bridged."""
        lab, spoke = detached

        with lab.hub.node.with_sysctl("net.ipv4.conf.all.rp_filter", 1):
            assert exchange(lab) == all_but(lab, spoke.name)

    def test_stops_multicast_both_ways(self, detached):
        """A spoke whose tunnel is not bridged neither receives multicast nor delivers it, not even to the hub."""
        lab, spoke = detached

        assert exchange(lab, group=GROUP) == all_but(lab, spoke.name)

    def test_shows_nothing_at_the_link(self, detached):
        """Both ends of a tunnel that is not bridged are up: the link state does not show the error."""
        lab, spoke = detached

        hub_end = lab.hub.node.link(lab.topology.port("hub", spoke.name))
        spoke_end = spoke.node.link(spoke.plan.device)
        assert (hub_end.up, spoke_end.up) == (True, True)


@pytest.mark.requirement("HUB-06")
def test_no_port_is_isolated(overlay):
    """Each of the hub's tunnels is a port of the bridge, and none is isolated."""
    isolated = [name for name, port in port_flags(overlay).items() if port.flags.get("isolated")]

    assert isolated == [], f"hub: isolated ports of {overlay.topology.bridge}: {', '.join(isolated)}; expected none"


@pytest.mark.requirement("HUB-06")
@pytest.mark.disruptive
@pytest.mark.usefixtures("one_way")
def test_isolated_ports_reach_all_but_each_other(build_lab):
    """Two spokes on isolated ports receive nothing from each other; both exchange packets with all others."""
    lab = build_lab(spokes=3)
    apart = [spoke.name for spoke in lab.spokes[:2]]
    for name in apart:
        port = lab.topology.port("hub", name)
        lab.hub.node.apply(bridge_port(port, isolated=1))

    heard = exchange(lab)

    assert heard == {name: set(lab.others(name)) - (set(apart) if name in apart else set()) for name in lab.hosts}

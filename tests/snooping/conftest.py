"""Bridges that snoop, and their parameters."""

import pytest

from fixtures.areas.snooping import await_pruning
from lab.stack.changes import bridge, link_set

# In clock ticks of 1/100 s.  A new querier floods for the length of its response interval (10 s by default), which is
# also how long hosts may take to answer a query; less than 1/10 s would be an IGMPv1 query (RFC 2236 section 4).
QUERIER = {"mcast_query_response_interval": 10, "mcast_querier": 1}


@pytest.fixture
def parameters():
    """The parameters of a lab's bridge (ip-link(8)): `parameters(lab)["mcast_querier"]`."""
    return lambda lab: lab.hub.node.link(lab.topology.bridge).details


@pytest.fixture
def set_bridge():
    """`set_bridge(lab, mcast_querier=1)` sets parameters of a lab's bridge, one after the other."""

    def change(lab, **values):
        kinds = [bridge(**{name: value}) for name, value in values.items()]
        # each of the hubs of PRP spokes is the querier of a network of its own
        for hub in lab.hubs if lab.topology.doubled else [lab.hub]:
            hub.node.apply(*(link_set(hub.plan.device, kind) for kind in kinds))

    return change


@pytest.fixture
def quick_querier():
    """The parameters of a querier that queries and times out within 1/10 s."""
    return QUERIER


@pytest.fixture
def querier_lab(standing, quick_querier):
    """A lab of three spokes whose bridge is a querier and prunes."""
    lab = standing(spokes=3, bridge=quick_querier)
    await_pruning(lab)
    return lab

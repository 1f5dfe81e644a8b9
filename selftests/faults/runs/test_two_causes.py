"""
A run in a lab with two faults puts each failure down to the one that can cause it, whatever else is at that place.

    --inject=A --inject=B  -->  a test that only A can fail, one that only B can fail, one that both can fail
"""

import json
from collections.abc import Iterator, Mapping

import pytest

from selftests.faults.matrix.pool import Worker

MULTICAST = "tests/multicast/test_delivery.py"
EVERY_SPOKE = "tests/broadcast/test_delivery.py::test_every_spoke_reaches_every_host"
EVERY_MEMBER = f"{MULTICAST}::test_every_host_reaches_every_member"
JUMBO = "tests/mtu/test_boundary.py::test_no_leg_leaves_the_jumbo_frames[sender=hub]"
FRAGMENTS = "tests/mtu/test_boundary.py::test_many_fragments_arrive_whole[sender=hub-multicast]"
THIRD_SPOKE = "tests/snooping/test_members.py::test_every_listed_member_receives_from_every_sender"
PING = "tests/broadcast/test_arp.py::test_only_the_owner_answers[sender=hub]"
OWN_COPY = f"{MULTICAST}::test_reaches_every_member_exactly_once[sender=spoke2]"
IN_ORDER = f"{MULTICAST}::test_numbered_lines_arrive_in_order[sender=hub]"
BROADCAST_PING = "tests/icmp/test_broadcast_ping.py::test_every_node_answers_once_from_its_own_address[sender=hub]"
MULTICAST_PING = "tests/icmp/test_all_hosts_ping.py::test_every_node_answers_once[sender=hub]"
DF = "tests/mtu/test_boundary.py::test_a_sender_with_df_gets_an_error[sender=hub-multicast]"
FIRST_ADDRESS = "tests/broadcast/test_address.py::test_first_address_of_the_prefix_is_no_broadcast[sender=spoke1]"
LIMITED = "tests/broadcast/test_limited.py::test_bound_to_the_device_reaches_everyone[sender=hub]"
CASES: Mapping[tuple[str, str], Mapping[str, set[str]]] = {
    ("multicast-filtered", "arp-unanswered"): {
        EVERY_MEMBER: {"224.0.0.0/4"},
        OWN_COPY: {"224.0.0.0/4"},
        IN_ORDER: {"224.0.0.0/4"},
        THIRD_SPOKE: {"224.0.0.0/4"},
        PING: {"arp-unanswered"},
        MULTICAST_PING: {"224.0.0.0/4"},
    },
    ("stateful-only", "multicast-route-missing"): {FIRST_ADDRESS: {"stateful-only"}},
    ("large-filtered", "broadcast-filtered"): {
        EVERY_SPOKE: {"pkt-type broadcast"},
        JUMBO: {"1000:65535"},
    },
    ("second-tunnel", "multicast-filtered"): {EVERY_SPOKE: {"attached-twice"}},
    ("prefix-too-long", "multicast-filtered"): {
        EVERY_SPOKE: {"prefix-mismatch"},
        EVERY_MEMBER: {"224.0.0.0/4"},
        DF: {"224.0.0.0/4"},
    },
    ("large-filtered", "broadcast-ping-ignored"): {BROADCAST_PING: {"broadcast-ping-ignored"}},
    ("limited-broadcast-filtered", "multicast-filtered"): {MULTICAST_PING: {"224.0.0.0/4"}},
    ("fragments-filtered", "multicast-route-missing"): {
        f"{MULTICAST}::test_reaches_every_member_exactly_once[sender=spoke2]": {"multicast-route-missing"},
        FRAGMENTS: {"traffic-filtered"},
    },
    ("limited-broadcast-filtered", "arp-unanswered"): {
        LIMITED: {"255.255.255.255"},
    },
    ("broadcast-ping-ignored", "reassembly-limited"): {FRAGMENTS: {"reassembly-limited"}},
    ("masqueraded", "path-narrow"): {JUMBO: {"path-mtu-black-hole"}},
    ("broadcast-not-flooded", "df-set"): {EVERY_SPOKE: {"broadcast-not-flooded"}},
}
"""The tests that fail under two faults, and of each the causes that are expected: a part of code, host or rule."""


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """The process of the inner runs."""
    made = Worker()
    yield made
    made.close()


@pytest.mark.parametrize("faults", CASES, ids="+".join)
def test_each_failure_has_the_cause_that_can_cause_it(worker, tmp_path, faults):
    """Of two causes a failure names those that can lose a packet of its kind at its place, and no other."""
    options = ("-q", "-p", "no:cacheprovider", "-p", "no:allure_pytest", "--tunnel=vxlan", f"--reports={tmp_path}")
    printed = worker.run([*options, *(f"--inject={one}" for one in faults), *CASES[faults]])
    findings = json.loads((tmp_path / "conformance.json").read_text(encoding="utf-8"))["findings"]

    for test, causes in CASES[faults].items():
        named = [f"{one['code']} {one['node']} {one['rule']}" for one in findings if test in one["tests"]]
        assert len(named) == len(causes) > 0, (test, named, printed)
        assert all(any(cause in each for each in named) for cause in causes), (test, named)

"""
The cloud's queries: members answer them, and stay members.

    | cloud | -- IGMPv2 query, 0.0.0.0 > 224.0.0.1, every two minutes --> spoke2 -- report --> | cloud |
"""

import pytest

from fixtures.areas.snooping import query_from_cloud, reports_to_cloud

pytestmark = [pytest.mark.requirement("NATIVE-03"), pytest.mark.disruptive]

REPEATED_WITHIN = 10  # ms; the kernel's ten seconds instead of this would let a late repetition pass for an answer


def test_a_member_answers(mutable_lab, receiver, fresh_group):
    """After the reports of a join, a query from 0.0.0.0 is answered by one more report of each host."""
    pause = f"net.ipv4.conf.{receiver.plan.nic}.igmpv2_unsolicited_report_interval"
    joining = int(receiver.node.sysctl("net.ipv4.igmp_qrv"))

    with receiver.node.with_sysctl(pause, REPEATED_WITHIN), receiver.member() as member:
        member.join(fresh_group)
        before = reports_to_cloud(mutable_lab, receiver, fresh_group, joining)
        query_from_cloud(mutable_lab, receiver)
        after = reports_to_cloud(mutable_lab, receiver, fresh_group, joining + 1)

    assert (before, after) == (joining, joining + 1)

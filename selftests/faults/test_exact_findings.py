"""
A lab that a command breaks has the findings of that command and no other; their fixes correct it.

    lab, one host broken by a command  -->  explain  -->  exactly these findings
                fix of each finding, run on its host -->  explain finds nothing any more
"""

from __future__ import annotations

import pytest

from lab import laboratory
from selftests.faults.breaking import Case, broken, corrected, found, run

EXACT = {
    # of a tunnel without a route from its local address the kernel takes the MTU of no device
    "tunnel made with a wrong local address": (
        Case("spoke2", {"spoke2": "{remade} local 10.0.0.99"}, "gretap"),
        {"tunnel-local-mismatch"},
    ),
    # the kernel puts an address of a smaller scope before the others, and sends from the first
    "link-local address on a tunnel": (
        Case("spoke2", {"spoke2": "ip addr add 169.254.7.7/16 scope link dev {device}"}),
        {"overlay-source-foreign"},
    ),
    "full-size tunnel packets dropped where they leave": (
        Case("spoke2", {"spoke2": "iptables -A OUTPUT -o ens3 -m length --length 500:65535 -j DROP"}),
        {"carrier-dropped"},
    ),
    "full-size tunnel packets dropped where they arrive": (
        Case("spoke2", {"spoke2": "iptables -A INPUT -i ens3 -m length --length 500:65535 -j DROP"}),
        {"carrier-dropped"},
    ),
    # RFC 6040: an inner packet that is not ECN-capable does not come out of a marked one
    "tunnel packets marked as Congestion Experienced": (
        Case("spoke2", {"spoke2": "iptables -t mangle -A POSTROUTING -o ens3 -p udp -j TOS --or-tos 0x03"}),
        {"congestion-marked"},
    ),
    "a policy that refuses all but UDP, TCP and ICMP": (
        Case(
            "spoke2",
            {"spoke2": "iptables -P OUTPUT DROP; for p in udp tcp icmp; do iptables -A OUTPUT -p $p -j ACCEPT; done"},
        ),
        {"igmp-filtered", "control-dropped"},
    ),
}
"""What breaks which lab, and the codes of all findings, at its host."""


@pytest.mark.parametrize(
    ("lab", "case", "codes"), [(case, case, codes) for case, codes in EXACT.values()], indirect=["lab"], ids=list(EXACT)
)
def test_each_cause_is_found_once(lab: laboratory.Lab, case: Case, codes: set[str]) -> None:
    """The findings are those of the cause, at its host; their fixes leave none."""
    for host, command in case.commands.items():
        run(lab, host, broken(lab, host, command))

    before = found(lab)
    assert {(finding.code, finding.node) for finding in before} == {(code, case.host) for code in codes}, before
    corrected(lab, before)

"""
The rules without a lab: of every fault of the catalogue, what was recorded of it is explained again.

    recordings/*.xz  -->  scene  -->  explain  -->  the catalogue's finding, at its host and interface
"""

import re

import pytest

from lab.faults import catalogue
from lab.output.finding_text import merged
from selftests.faults import recordings

MOST_EVIDENCE = 300  # characters: what was counted, and the packet that shows it


@pytest.mark.parametrize("fault", sorted(catalogue.known()))
def test_names_the_fault_at_its_place(fault: str) -> None:
    """The diagnosis of the recording finds the fault; a new fault is recorded by the command that is printed."""
    recorded = recordings.read(recordings.file_of(fault))
    assert fault in recorded, f"run: .venv/bin/python -m selftests.faults.recordings '{fault}'"

    case = recordings.case_of(fault)

    assert recordings.is_named(catalogue.named(fault), case), case.findings()


ALSO_CHANGED = {
    "cloud-down": {"fabric-port-down"},  # each with its own host's port
    "hub-routes": {"proxy-arp"},
    "hub-unconfigured": {"tunnel-missing"},
    "loop": {"spokes-meshed", "traffic-filtered"},  # a tc filter limits the loop
    "plain-switch": {"source-check-off", "fabric-arp-unanswered", "fabric-floods"},
    "reports-not-received": {"querier-unplanned", "traffic-filtered"},
    "second-address": {"source-check-off"},
    "spokes-meshed": {"overlay-route-elsewhere"},
    "stp-timers-default": {"stp-between-hubs"},
    "strict-reverse-path": {"reverse-path-filter"},
}
"""What else some faults change, by the code that names it."""


@pytest.mark.parametrize("fault", sorted(catalogue.known()))
def test_names_one_cause(fault: str) -> None:
    """Every finding of a recording has the fault's code, or that of something else that the fault changes."""
    finding = catalogue.named(fault).finding
    assert finding

    codes = {one.code for one in recordings.case_of(fault).findings()}

    assert codes == {finding.code} | ALSO_CHANGED.get(fault, set())


@pytest.mark.parametrize("name", recordings.HEALTHY)
def test_finds_nothing_where_nothing_is_wrong(name: str) -> None:
    """The diagnosis of a healthy lab's recording finds nothing."""
    assert recordings.case_of(name).findings() == ()


@pytest.mark.parametrize("fault", ["gre-one-way", "vxlan-blocked", "geneve-blocked", "destination-options-dropped"])
def test_evidence_has_the_direction_of_the_finding(fault: str) -> None:
    """The evidence of a direction that the cloud blocks is one loss in that direction."""
    found = recordings.case_of(fault).findings()
    summaries = [re.findall(r"(\w+) to (\w+)", one.summary.rpartition(": ")[2]) for one in found]

    assert [re.findall(r"last seen on (\w+) .*?, never on (\w+)", one.evidence) for one in found] == summaries


@pytest.mark.parametrize("fault", ["vxlan-blocked", "gre-blocked", "geneve-blocked", "path-narrow-to-hub"])
def test_a_rule_of_the_cloud_is_one_cause(fault: str) -> None:
    """What the cloud drops between several hosts is printed once, with every direction and the fix."""
    found = recordings.case_of(fault).findings()

    (one,) = merged([finding.data() for finding in found])

    pairs = (
        ["spoke1, spoke2 to hub"] if "narrow" in fault else ["hub to spoke1 and spoke2", "spoke1 to hub, spoke2 to hub"]
    )
    assert all(pair in one["summary"] for pair in pairs), one["summary"]
    assert one["remedy"] == found[0].remedy


@pytest.mark.parametrize(
    ("fault", "narrow"),
    [
        ("broadcast-filtered", "-m pkttype --pkt-type broadcast"),
        ("large-filtered", "-m length --length 1000:65535"),
        ("multicast-filtered", "-d 224.0.0.0/4"),
    ],
)
def test_an_exception_accepts_no_more_than_the_rule_drops(fault: str, narrow: str) -> None:
    """The fix of a rule for some packets repeats their packet type, lengths or addresses."""
    (found,) = recordings.case_of(fault).findings()

    assert narrow in found.remedy


def test_evidence_is_read_at_a_glance() -> None:
    """The evidence of no recorded finding is longer than a few lines of a terminal."""
    found = [one for fault in sorted(catalogue.known()) for one in recordings.case_of(fault).findings()]

    assert [one for one in found if len(one.evidence) > MOST_EVIDENCE] == []


def test_every_recording_is_of_a_fault() -> None:
    """No recording is of a fault that the catalogue does not have, and all of them together are small."""
    files = sorted(recordings.FOLDER.iterdir())

    assert {name for path in files for name in recordings.read(path)} == {*catalogue.known(), *recordings.HEALTHY}
    assert sum(path.stat().st_size for path in files) < 4_000_000

"""
A kernel that has no room for neighbours, or connections, drops packets without an error: that explains failures.

    guest kernel (gc_thresh3 = 2)   hub -?- spoke1, spoke2   -->  neighbour-table-full, and nothing else
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import execnet
import pytest

from lab import laboratory
from lab.clouds.providers import provider
from lab.diagnose import scene
from lab.diagnose.explain import explain
from lab.diagnose.parameters import MOST_CONNECTIONS
from lab.machines import choose
from lab.machines.node import Node
from lab.model import TunnelOptions, Underlay
from lab.probes.deadlines import SHORT
from lab.probes.host_state.neighbour_tables import LIMIT
from lab.topology import topologies
from selftests.faults.broken_labs.few_neighbours import ROOM
from selftests.faults.runs import waits

ENOUGH = 1024  # neighbours; the fix raises the limit to a multiple of what was found, which is less than any real one
ROOT = Path(__file__).resolve().parents[3]
CODE, CONNECTIONS = "neighbour-table-full", "conntrack-full"
FIX = "sysctl -w net.ipv4.neigh.default.gc_thresh3="
TESTS = "tests/broadcast/test_delivery.py"
DEADLINE = 300  # seconds; 20 in practice


@pytest.fixture
def lab() -> Iterator[laboratory.BuiltLab]:
    """A lab in a guest of its own."""
    starting = choose.start(choose.choose("guest", "gretap"), execnet.Group())
    plan = topologies.star(2, TunnelOptions(kind="gretap"))
    with laboratory.build(starting.machine(), plan, Underlay(provider("oci"))) as made:
        yield made
    starting.close()


def test_is_found_by_a_trial_until_the_fix(lab):
    """A trial with a small neighbour table has only this finding, and none after the printed fix."""
    home = Node.home("home", lab.machine)
    home.write_sysctls({LIMIT: ROOM})

    full = explain(scene.gather(lab))
    home.run("sh", "-ec", full[0].remedy.replace(f"={4 * ROOM}", f"={ENOUGH}"))

    assert [finding.code for finding in full] == [CODE]
    assert explain(scene.gather(lab)) == ()


def test_no_room_for_connections_is_found_until_the_fix(lab):
    """A host that tracks more connections than its kernel has room for drops packets of new ones: that is the cause."""
    home = Node.home("home", lab.machine)
    lab.nodes["spoke2"].run("sh", "-ec", "iptables-legacy -A INPUT -m conntrack --ctstate NEW -j ACCEPT")
    before = explain(scene.gather(lab))
    home.write_sysctls({MOST_CONNECTIONS: ROOM})

    full = explain(scene.gather(lab))
    home.run("sh", "-ec", full[0].remedy.replace(f"={4 * ROOM}", f"={ENOUGH}"))

    assert before == ()
    assert [(finding.code, finding.node) for finding in full] == [(CONNECTIONS, "spoke2")]
    assert explain(scene.gather(lab)) == ()


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[dict[str, object]]]:
    """What a run with room for few neighbours printed, and its findings."""
    reports = tmp_path_factory.mktemp("reports")
    options = ["-q", "-p", "no:cacheprovider", "-p", "selftests.faults.broken_labs.few_neighbours", "--kernel=guest"]
    options += ["-p", "selftests.faults.runs.waits"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, f"--reports={reports}", TESTS],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    results = json.loads((reports / "conformance.json").read_text(encoding="utf-8"))
    return done.stdout, results["findings"]


def test_is_the_only_cause(ran):
    """Failures are attributed only to the full table."""
    printed, findings = ran

    assert {one["code"] for one in findings} == {CODE}, printed
    assert " failed" in printed


def test_is_waited_for_as_a_fence_and_looked_at_once(ran):
    """With intermittent losses of a known cause, no packet is waited for longer, and no evidence is collected again."""
    printed, _ = ran
    waited = waits.of(printed)

    assert {one.seconds for one in waited.fences} == {SHORT}
    assert waited.gathered == 1


def test_names_the_command(ran):
    """The fix raises the limit, where it can be raised."""
    printed, findings = ran

    assert [one["remedy"].startswith(FIX) for one in findings] == [True], printed
    assert f"fix (hub): {FIX}" in printed

"""
`./overcast bundle --hosts=`: live hosts as they are, explained elsewhere as the doctor explains them.

    hub, spoke1, spoke2, one broken  -->  bundle --hosts  -->  FILE  -->  explain: the doctor's findings and fixes
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.bundles import bundle
from lab.commands.main import main
from lab.machines import firewall
from lab.model import VXLAN_PORT
from lab.stack import state
from lab.stack.changes import link_set
from selftests.live.doctor.test_prerequisites import with_firewall
from selftests.live.rig import Rig

HOSTS = "root@hub,spoke1,root@spoke2"


@pytest.fixture
def detached(rig: Rig) -> Iterator[str]:
    """The hub's port to spoke2, which is not in the bridge."""
    port = rig.lab.topology.port("hub", "spoke2")
    attach = link_set(port, master=rig.lab.topology.bridge)
    with rig.lab.hub.node.changed(link_set(port, nomaster=True), attach):
        yield port


def packed(rig: Rig, file: Path, *arguments: str) -> int:
    """Packs the hosts of a rig; returns the exit status."""
    return main(["bundle", f"--hosts={HOSTS}", f"--ssh-config={rig.ssh_config}", "-o", str(file), *arguments])


def test_live_hosts_are_explained_elsewhere(
    rig: Rig, detached: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file has the doctor's findings, derived from its scene, and no path of a key; the hosts are unchanged."""
    file = tmp_path / "hosts.tar.gz"
    before = state.fingerprint(rig.lab.nodes)

    assert packed(rig, file) == 0

    assert state.fingerprint(rig.lab.nodes) == before
    read = bundle.read(file)
    assert [finding.code for finding in read.reported] == ["port-not-bridged"]
    assert [one.key for one in read.reported] == list(read.found)
    with tarfile.open(file) as tar:
        assert {Path(name).name for name in tar.getnames()} >= {"doctor.json", "hosts.txt", "summary.txt"}
        text = b"".join(part.read() for name in tar.getnames() if (part := tar.extractfile(name)))
    assert str(rig.ssh_config).encode() not in text
    capsys.readouterr()

    assert main(["explain", str(file)]) == 0

    printed = capsys.readouterr().out
    assert f"fix (root@hub, hub): ip link set {detached} master bridge0" in printed
    assert printed.splitlines()[-1] == "no run: the doctor examined live hosts and found them not ready"


def test_redacted_has_no_address_of_a_host(rig: Rig, detached: str, tmp_path: Path) -> None:
    """The names that --hosts gives and every address are replaced; the same is found at the same place."""
    file = tmp_path / "hosts.tar.gz"

    assert packed(rig, file, "--redact") == 0

    read = bundle.read(file)
    text = json.dumps(read.results) + "".join(map(bundle.line, read.cases))
    assert [word for word in ("root@", *(host.address for host in rig.hosts.values())) if word in text] == []
    assert {(finding.code, finding.node, finding.host) for finding in read.found.values()} == {
        ("port-not-bridged", "hub", "hub")
    }


def test_a_problem_that_is_no_finding_of_the_overlay_is_kept(
    rig: Rig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The doctor's result about a path between two hosts is explained, too, with its fix."""
    file = tmp_path / "hosts.tar.gz"
    with firewall.rules(with_firewall(rig, "spoke2"), ("INPUT", "-p", "udp", "--dport", str(VXLAN_PORT), "-j", "DROP")):
        packed(rig, file)
    capsys.readouterr()

    main(["explain", str(file)])

    printed = capsys.readouterr().out
    assert "root@hub (hub) → root@spoke2 (spoke2): UDP 4789: arrives at spoke2 ens3, and its own firewall" in printed
    assert "    fix (root@spoke2, spoke2): sudo iptables" in printed


def test_hosts_that_cannot_be_tried_are_refused(rig: Rig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If the overlay cannot be diagnosed, one message reports it and names the doctor; no file is written."""
    file = tmp_path / "hosts.tar.gz"

    status = main(["bundle", "--hosts=nowhere.invalid,spoke1", f"--ssh-config={rig.ssh_config}", "-o", str(file)])

    assert status == 1
    assert "  fix: ./overcast doctor --hosts=nowhere.invalid,spoke1 --ssh-config=" in capsys.readouterr().err
    assert not file.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sudo",), "--sudo requires --hosts"),
        (("--hosts=a,b", "--reports=x"), "--reports cannot be used with --hosts"),
    ],
)
def test_options_that_exclude_each_other(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    """An option of hosts without hosts, and a run together with hosts, are usage errors."""
    assert main(["bundle", *arguments]) == 2
    assert message in capsys.readouterr().err

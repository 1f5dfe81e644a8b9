"""
Hosts without an overlay are not conformant, and the reports say so like any others: what is missing, and what to run.

    hub, spoke1, spoke2 as a cloud hands them out
"""

from __future__ import annotations

from pathlib import Path

from selftests.live.rig import Rig
from selftests.live.test_suite import run


def test_the_reports_say_what_is_missing(rig: Rig, tmp_path: Path) -> None:
    """Without an overlay every host has a finding with its command; what needs one did not run, with the reason."""
    done, result = run(rig, tmp_path)

    outcomes = {entry["id"]: entry for entry in result["requirements"]}
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr
    assert result["verdict"] == "nonconformant"
    places = {finding["node"]: finding["code"] for finding in result["findings"]}
    assert places == dict.fromkeys(rig.hosts, "tunnel-missing")
    assert all(finding["remedy"] for finding in result["findings"])
    assert outcomes["HUB-02"]["outcome"] == "failed"
    assert outcomes["BCAST-02"]["outcome"] == "not-run"
    assert "no overlay that could be tested" in outcomes["BCAST-02"]["reason"]
    assert (tmp_path / "index.html").exists()

"""
Faults of live hosts are found as in a lab, and the printed fix corrects them.

    one host broken by a command  -->  pytest --hosts=...  -->  the finding, on its node and interface
                 its remedy, run on that host              -->  the same tests pass
"""

from __future__ import annotations

from pathlib import Path

import pytest

from selftests.live.rig import Rig
from selftests.live.test_suite import run

TESTS = ("tests/broadcast/test_delivery.py", "tests/icmp/test_broadcast_ping.py", "tests/multicast/test_delivery.py")
# host, what breaks it, the finding and its interface; `{port}` is the hub's to spoke2
BROKEN = {
    "port detached": ("hub", "ip link set {port} nomaster", "port-not-bridged", "{port}"),
    "broadcast not flooded": ("hub", "bridge link set dev {port} bcast_flood off", "broadcast-not-flooded", "{port}"),
    "carrier dropped": ("hub", "iptables -A INPUT -p udp --dport 4789 -j DROP", "tunnel-packets-dropped", "ens3"),
    "no multicast route": ("spoke2", "ip route del 224.0.0.0/4 dev {port}", "multicast-route-missing", "{port}"),
    "broadcast ping ignored": (
        "spoke1",
        "sysctl -w net.ipv4.icmp_echo_ignore_broadcasts=1",
        "broadcast-ping-ignored",
        "",
    ),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_is_found_and_fixed(rig: Rig, tmp_path: Path, broken: str) -> None:
    """The run names the change to one host, and after its fix the same run is green."""
    port = rig.lab.topology.port("hub", "spoke2")
    host, command, code, interface = (text.format(port=port) for text in BROKEN[broken])
    node = rig.lab[host].node
    done = node.run("sh", "-c", command)
    assert done["status"] == 0, done

    try:
        broken_run, result = run(rig, tmp_path / "broken", *TESTS)
        codes = [one["code"] for one in result["findings"]]
        assert codes == [code], result["findings"]
        (finding,) = result["findings"]
        done = node.run("sh", "-c", finding["remedy"])
        fixed_run, after = run(rig, tmp_path / "fixed", *TESTS)
    finally:
        node.run("iptables", "-F", "INPUT")  # a remedy goes before what it excepts from; both go here

    assert (finding["code"], finding["node"], finding["interface"]) == (code, host, interface)
    assert broken_run.returncode == 1, broken_run.stdout[-3000:]
    *cause, verdict = broken_run.stdout.rstrip().splitlines()[-6:]
    assert f"    fix ({finding['node']}): {finding['remedy']}" in cause
    assert verdict.startswith("verdict: nonconformant")
    assert done["status"] == 0, done
    assert not after["findings"]
    assert "failed" not in {entry["outcome"] for entry in after["requirements"]}, fixed_run.stdout[-3000:]

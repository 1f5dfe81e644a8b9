"""
Every option that the README names is run: a healthy lab is green under it, the article's is red exactly as expected.

    README.md  --options-->  ROWS, one inner run of pytest each  -->  conformance.json: nothing failed but `reds`
                             ELSEWHERE: the selftests that run the option already

A run of the whole suite takes 15 s on this kernel (VXLAN) and a minute in a guest.  So the rows on VXLAN that change
every test run all of it, and the others the folders that the option changes: clouds differ in what the underlay
carries and in the MTU; over IPv6 whatever reads an outer header or an ICMP error may presume IPv4; with many spokes it
is every host at once that overflows; workers share nothing but the results.  What runs elsewhere is left out: with
two hubs `tests/redundancy` (`selftests/faults/runs/test_redundancy.py`), and of the shapes without a hub what live
hosts run (`selftests/live/layouts/test_recognition.py`).
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.applications import packages
from selftests import plain

pytestmark = pytest.mark.alone("uses every processor by itself; one run has 41 hosts")

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 400  # seconds for a row on a busy machine; 5 to 40 in practice
HOLDS, FAILS, NARROWED = 0, 1, 10
# the shell between: the capabilities that still let setpriv pass into any directory end with it
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", 'exec "$0" "$@"')
PACKAGES_HERE = Path(pytest.__file__).resolve().parents[1]
ONE_SET_OF_TESTS = ("tests/underlay", "tests/mtu")
MANY = (
    "tests/broadcast/test_delivery.py::test_every_spoke_reaches_every_host",
    "tests/multicast/test_delivery.py::test_every_host_reaches_every_member",
    "tests/article/test_communication.py::test_udp_unicast_from_and_to_every_host",
    "tests/icmp/test_all_hosts_ping.py::test_every_node_answers_once",
    "tests/icmp/test_broadcast_ping.py",
)
VPN = (
    "ip link add tun0 type veth peer name tunp; ip link set tunp up; ip link set tun0 up; "
    "ip addr add 10.8.0.2/24 dev tun0; ip route add 10.0.0.0/8 $(ip route show default | sed s/default//)"
)
"""A VPN, and the private networks that its user keeps out of it."""
MAIN = "; ip route add 0.0.0.0/1 dev tun0; ip route add 128.0.0.0/1 dev tun0"
TABLE = (
    "; ip route add 0.0.0.0/1 dev tun0 table 100; ip route add 128.0.0.0/1 dev tun0 table 100"
    "; ip route add 10.0.0.0/24 dev ens3 table 100; ip rule add from 10.0.0.131 lookup 100"
)
TWO_HUBS = ("tests/broadcast", "tests/hub")
IN_LABS_ALONE = ("-m", "disruptive")
ROUTED = ("tests/broadcast", "tests/multicast", "tests/prerequisites", "tests/resilience/test_link_flap.py")


@dataclass(frozen=True)
class Row:
    """One run: what is given to pytest, and the requirements that are red on purpose."""

    arguments: tuple[str, ...]
    reds: frozenset[str] = frozenset()
    rootless: bool = False


@dataclass(frozen=True)
class Ran:
    """What came of a run: its status, what it printed, the outcome of each requirement."""

    status: int
    printed: str
    outcomes: Mapping[str, str]


ROWS = {
    # the longest first: begun last, it would be waited for at the end
    "topology two-hubs-stp": Row(
        ("--topology=two-hubs-stp", *TWO_HUBS, "tests/redundancy"), frozenset({"RED-02", "RED-03", "RED-04"})
    ),
    "tunnel vxlan, another subnet": Row(("--tunnel=vxlan", "--overlay-subnet=10.20.16.0/20")),
    "tunnel geneve": Row(("--tunnel=geneve",)),
    "tunnel ip6gretap": Row(
        (
            "--tunnel=ip6gretap",
            *("tests/ttl", "tests/prerequisites", "tests/ipv6", "tests/wire", "tests/snooping/test_members.py"),
        )
    ),
    "provider aws": Row(("--provider=aws", "--tunnel=vxlan", *ONE_SET_OF_TESTS)),
    "provider gcp": Row(("--provider=gcp", "--tunnel=vxlan", *ONE_SET_OF_TESTS)),
    "provider azure": Row(("--provider=azure", "--tunnel=vxlan", *ONE_SET_OF_TESTS, "tests/hub")),
    "topology article": Row(
        ("--topology=article", "--tunnel=vxlan"),
        frozenset(
            {"PRE-14", "HUB-08"}  # multicast route, MAC not pinned
            | {"MCAST-08", "ICMP-05"}  # 224.0.0.0/8 is not the range; the TTL is inherited
        ),
    ),
    "topology bridged": Row(("--topology=bridged", "--tunnel=vxlan", "tests/broadcast", "tests/hub")),
    "topology pair": Row(("--topology=pair", "--tunnel=vxlan", *IN_LABS_ALONE)),
    "topology mesh": Row(("--topology=mesh", "--tunnel=vxlan", "--spokes=3", *IN_LABS_ALONE)),
    "topology flood-list": Row(("--topology=flood-list", "--tunnel=vxlan", "--spokes=3", *IN_LABS_ALONE)),
    "without tunnels": Row(("--provider=aws-tgw", "--tunnel=none")),
    "without tunnels, Google": Row(("--provider=gcp-multicast", "--tunnel=none")),
    "topology two-hubs-bond": Row(("--topology=two-hubs-bond", *TWO_HUBS)),
    "topology two-hubs-prp": Row(("--topology=two-hubs-prp", *TWO_HUBS)),
    "topology standby": Row(("--topology=standby", "--tunnel=vxlan", "--api-delay=1", *TWO_HUBS, "tests/redundancy")),
    "spokes 1": Row(("--spokes=1", "--tunnel=vxlan")),
    "spokes 5": Row(
        ("--spokes=5", "--pairs=all", "--tunnel=vxlan", "tests/broadcast", "tests/multicast", "tests/icmp")
    ),
    "spokes 40": Row(("--spokes=40", *MANY)),
    "two workers": Row(("-n", "2", "--tunnel=vxlan", "tests/broadcast", "tests/hub")),
    "rootless, this kernel": Row(("--tunnel=vxlan", "tests/broadcast", "tests/hub"), rootless=True),
    "rootless, guest": Row(("--kernel=guest", "tests/broadcast"), rootless=True),
    "applications": Row(("--applications", "tests/applications")),
    "healthy with VPNs": Row(
        ("--tunnel=vxlan", f"--inject=spoke1: {VPN}{MAIN}", f"--inject=spoke2: {VPN}{TABLE}", *ROUTED)
    ),
}
ELSEWHERE = {
    "--inject=": "selftests/faults",
    "--hosts=": "selftests/live",
    "--ssh-config=": "selftests/live",
    "--sudo": "selftests/live",
    "--provision": "selftests/live/provision",
    "--baseline=": "selftests/reports",
    "--every=": "selftests/live",
    "--for=": "selftests/live",
    "--format=": "selftests/commands",
    "--hub=": "selftests/commands",
    "--json-lines": "selftests/live",
    "--load=": "selftests/lab",
    "--load-max=": "selftests/commands",
    "--metrics=": "selftests/live",
    "--persistence": "selftests/live",
    "--redact": "selftests/faults",
    "--rehearse": "selftests/live",
    "--stream=": "selftests/live",
    "--overlay=": "selftests/live",
    "--version": "selftests/reports",
    "-k": "selftests/commands",
    "-x": "selftests/reports",
}
"""Options of the README that other selftests run; `-k` and `-x` are pytest's own."""
NUMBERS = {"--spokes=": ("1", "5", "40"), "-n": ("2",), "--api-delay=": ("1",)}
"""Options with any number as value: which ones stand for it."""


def options_of_the_readme() -> set[str]:
    """The options of every command in the README that runs pytest or the suite, with their values."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = [
        line.partition("#")[0] for line in re.findall(r"^    .*(?:pytest|\./overcast)\b.*$", text, re.MULTILINE)
    ]
    found = set()
    for command in commands:
        words = re.sub(r'=".*?"', "=", command.partition(" -- ")[0]).split()
        found |= {word for word in words if re.match(r"--?[a-z]", word)}
    return found


def covered(option: str) -> bool:
    """Whether a row, or another selftest, runs an option of the README."""
    name, equals, _ = option.partition("=")
    if name + equals in ELSEWHERE:
        return (ROOT / ELSEWHERE[name + equals]).is_dir()
    rows = [word for row in ROWS.values() for word in row.arguments]
    if name + equals in NUMBERS:
        return all(f"{name}{equals}{value}" in rows or value in rows for value in NUMBERS[name + equals])
    return option in rows


def test_every_option_of_the_readme_has_a_row() -> None:
    """The README names no option, and no value of one, that nothing runs."""
    options = options_of_the_readme()

    assert {"--tunnel=ip6gretap", "--tunnel=geneve", "--topology=article", "--applications", "-n"} <= options
    assert sorted(option for option in options if not covered(option)) == []


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Ran]]]:
    """The selected rows, as many at a time as there are processors."""
    here = [item for item in request.session.items if item.path == request.path and hasattr(item, "callspec")]
    names = dict.fromkeys(str(item.callspec.params["name"]) for item in here)
    rows = {name: ROWS[name] for name in names if not lacks(ROWS[name])}
    # pytest's own folder is for this user alone
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as workers:
        Path(folder).chmod(0o755)
        yield {name: workers.submit(run, row, Path(folder) / name.replace(" ", "-")) for name, row in rows.items()}


def run(row: Row, reports: Path) -> Ran:
    reports.mkdir()
    reports.chmod(0o777)
    arguments = ["-q", f"--reports={reports}", *row.arguments]
    if row.rootless:
        done = subprocess.run(
            [*NOBODY, python_for_all(), "-m", "pytest", *plain.OPTIONS, *arguments],
            cwd=ROOT,
            env=environment(row),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
    else:
        done = plain.run(*arguments, timeout=DEADLINE, environment=environment(row))
    result = reports / "conformance.json"
    judged = json.loads(result.read_text(encoding="utf-8"))["requirements"] if result.exists() else []
    return Ran(done.returncode, done.stdout + done.stderr, {one["id"]: one["outcome"] for one in judged})


def lacks(row: Row) -> str:
    """What keeps a row from running here, with the command that brings it."""
    if row.rootless and os.geteuid() != 0:
        return "only root can become another user: sudo ./overcast test"
    if row.rootless and not python_for_all():
        return f"other users cannot run this Python, or read this checkout: chmod -R o+rX {ROOT}, and its parents"
    if "--applications" in row.arguments and (missing := packages.missing(*packages.PACKAGES)):
        return f"not installed: {', '.join(missing)}; {packages.remedy(missing)}"
    return ""


def environment(row: Row) -> dict[str, str]:
    """The variables of a run: none meant for this one; another user finds our packages, and writes no byte code."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "SUDO_"))}
    if not row.rootless:
        return own
    return {**own, "HOME": tempfile.gettempdir(), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(PACKAGES_HERE)}


@functools.cache
def python_for_all() -> str:
    """A Python that another user can run with the packages of this one; empty when there is none."""
    for python in (os.path.realpath(sys.executable), "/usr/bin/python3"):
        command = [*NOBODY, python, "-c", "import pytest, pyroute2, lab.machines.choose"]
        rootless = environment(Row((), rootless=True))
        if subprocess.run(command, cwd=ROOT, env=rootless, capture_output=True, check=False).returncode == 0:
            return python
    return ""


@pytest.mark.parametrize("name", [pytest.param(name, id=name) for name in ROWS])
def test_is_green_but_for_what_it_breaks_on_purpose(runs: dict[str, Future[Ran]], name: str) -> None:
    """Under the option no requirement fails but those that the row names, and no test is left without a result."""
    row = ROWS[name]
    if reason := lacks(row):
        pytest.skip(reason)
    ran = runs[name].result()

    failed = {identity for identity, outcome in ran.outcomes.items() if outcome == "failed"}
    assert failed == row.reds, ran.printed[-4000:]
    assert ran.status in ((FAILS,) if row.reds else (HOLDS, NARROWED)), ran.printed[-4000:]
    assert "passed" in ran.outcomes.values(), ran.printed[-4000:]

"""
A bundle explains a run elsewhere: the same findings, nothing secret, and a file that is no bundle is refused.

    pytest --inject  -->  reports/  -->  overcast bundle  -->  FILE  -->  overcast explain  -->  the run's findings
"""

from __future__ import annotations

import gzip
import io
import json
import pickle
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from lab.bundles import bundle
from lab.bundles.headers import addresses_in
from lab.bundles.redaction import IPV4
from lab.commands import explain
from lab.commands.bundle import README, redacted
from lab.diagnose.codes import declared
from lab.errors import EnvironmentProblem
from lab.machines.live import hosts
from lab.output.finding_text import identity
from lab.output.secrets import cleaned
from selftests.faults.matrix import inner
from selftests.faults.matrix.pool import ROOT, Worker

TESTS = ("tests/broadcast/test_delivery.py", "tests/multicast/test_delivery.py", "tests/mtu/test_boundary.py")
OPTIONS = ("-q", "-p", "no:cacheprovider", "-p", "no:allure_pytest", "--tunnel=vxlan")
FAULTS = {
    "port-detached": (),
    "duplicate-address": (),
    "multicast-route-missing": ("-n", "2"),
    "spoke1: iptables -A INPUT -i {device} -p udp -m comment --comment 'token=hunter2' -j DROP": (),
    "spoke2: ip link set ens3 mtu 1400": (),
}
"""The fault, and the run's other options."""
SECRET = "ge-heim"


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """The process of the inner runs."""
    with inner.machine_for("vxlan"):
        made = Worker()
    yield made
    made.close()


@pytest.fixture(scope="module", params=FAULTS)
def reports(request: pytest.FixtureRequest, worker: Worker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a run under a fault."""
    folder = tmp_path_factory.mktemp("reports")
    fault = request.param.format(device="vxlan1")
    printed = worker.run([*OPTIONS, f"--reports={folder}", f"--inject={fault}", *FAULTS[request.param], *TESTS])
    assert (folder / bundle.KEPT).exists(), printed
    return folder


@pytest.fixture(scope="module")
def packed(reports: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of such a run."""
    file = tmp_path_factory.mktemp("bundle") / "run.tar.gz"
    overcast("bundle", f"--reports={reports}", "-o", str(file))
    return file


def overcast(*arguments: str, status: int = 0) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "lab", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def unpacked(file: Path) -> dict[str, bytes]:
    """The files in a bundle."""
    with tarfile.open(file) as tar:
        found = {Path(member.name).name: tar.extractfile(member) for member in tar}
        return {name: content.read() for name, content in found.items() if content is not None}


def test_explains_what_the_run_reported(reports: Path, packed: Path) -> None:
    """Each finding of the run is derived again from the file, with the same texts, and printed."""
    results = json.loads(cleaned((reports / "conformance.json").read_text()))
    of_tests = {"requirements": [], "tests": []}
    reported = [{**one, **of_tests} for one in results["findings"]]

    found = bundle.read(packed).found
    derived = [{**found[identity(one)].data(), **of_tests} for one in reported]
    printed = overcast("explain", str(packed))

    assert reported
    assert derived == reported
    assert "hunter2" not in printed
    for one in reported:
        assert f"{one['code']}: " in printed
        assert f"fix ({one['node']}): {one['remedy']}" in printed or not one["remedy"]
    assert "as it was reported" not in printed


def test_one_cause_on_several_hosts_is_printed_once() -> None:
    """What one command corrects on several hosts is one cause with all its failures, as at the end of a run."""
    ignored = [declared("broadcast-ping-ignored", name, "", "", "sysctl -w x=0") for name in ("hub", "spoke1")]
    reported = [{**one.data(), "tests": [f"test of {one.node}"], "requirements": ["ICMP-01"]} for one in ignored]

    printed = list(explain.lines(bundle.Bundle((), {"findings": reported}), 120))

    assert [line for line in printed if "fix (" in line] == ["    fix (on hub and on spoke1): sysctl -w x=0"]
    assert [line for line in printed if "caused" in line] == ["    caused 2 test failures (ICMP-01)"]


def test_is_small_and_for_people_too(packed: Path) -> None:
    """The file has the findings and the hosts' configuration as text, and fits into a mail."""
    files = unpacked(packed)

    assert files["README.txt"].decode() == README
    assert b"fix (" in files["summary.txt"]
    assert b"=== spoke1 ===" in files["hosts.txt"]
    assert packed.stat().st_size < 500_000


def addresses_of(file: Path) -> set[str]:
    """The unicast addresses of hosts in a bundle, in its texts and in its frames."""
    import re

    found = set()
    for content in unpacked(file).values():
        found |= {one.partition("/")[0] for one in re.findall(IPV4, content.decode())}
    for case in bundle.read(file).cases:
        for exchange in case.scene.trial.exchanges:
            for one in exchange.sightings:
                spots = [(at, size) for at, size in addresses_in(one.frame, one.vxlan_port) if size == 4]
                found |= {str(ip_address(one.frame[at : at + size])) for at, size in spots}
    return {one for one in found if _is_of_a_host(one)}


def _is_of_a_host(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return 0 < int(address) >> 24 < 224 and not address.is_loopback and not address.is_link_local


def test_redacted_has_other_addresses_and_the_same_findings(packed: Path, tmp_path: Path) -> None:
    """No address of the run is in the redacted file, nor in its frames, and the same is found at the same places."""
    file = tmp_path / "redacted.tar.gz"
    before = bundle.read(packed)
    made = redacted(before)
    bundle.write(made, file, {})

    after = bundle.read(file)

    assert {"10.0.0.131", "172.16.254.3"} <= addresses_of(packed)
    assert addresses_of(file)
    assert addresses_of(packed) & addresses_of(file) == set()
    assert list(after.found) == list(before.found)
    assert [one.key for one in after.reported] == [one.key for one in before.reported]


@pytest.fixture(scope="module")
def one_run(worker: Worker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of one run."""
    folder = tmp_path_factory.mktemp("one")
    printed = worker.run([*OPTIONS, f"--reports={folder}", "--inject=port-detached", TESTS[0]])
    assert (folder / bundle.KEPT).exists(), printed
    return folder


SECRETS = (
    f"ssh://opc:{SECRET}@hub.example?sudo=true",
    f"ssh://opc@hub.example?ssh_identity_file=/keys/{SECRET}&sudo=true",
    f"try: ssh -o ProxyCommand={SECRET} -i /keys/{SECRET} opc@hub.example",
    f"pytest --ssh-identity-file=/keys/{SECRET} --ssh-config /{SECRET}",
    f"PASSWORD={SECRET} ./overcast",
    f"-----BEGIN OPENSSH PRIVATE KEY-----\n{SECRET}\n-----END OPENSSH PRIVATE KEY-----",
)


@pytest.mark.parametrize("secret", SECRETS)
def test_has_no_secret(one_run: Path, tmp_path: Path, secret: str) -> None:
    """Passwords, keys and ssh options that a message of the run quotes are not in the file."""
    results = json.loads((one_run / "conformance.json").read_text())
    results["tests"][0]["reason"] = secret
    (tmp_path / "conformance.json").write_text(json.dumps(results))
    (tmp_path / "junit.xml").write_text(f"<failure>{secret}</failure>")
    (tmp_path / bundle.KEPT).write_bytes((one_run / bundle.KEPT).read_bytes())
    file = tmp_path / "run.tar.gz"

    overcast("bundle", f"--reports={tmp_path}", "-o", str(file))

    assert [name for name, content in unpacked(file).items() if SECRET.encode() in content] == []


def test_names_hosts_without_what_is_secret_in_their_specification() -> None:
    """A bundle keeps only login and port of a host's specification."""
    text = f"ssh://opc@hub.example:2222?sudo=true&ssh_identity_file=/{SECRET}"
    spec, _ = hosts.parse(f"{text},spoke1")

    assert spec.destination == "opc@hub.example:2222"


def test_redacted_has_no_name_of_a_host(one_run: Path, tmp_path: Path) -> None:
    """The user's names for hosts, and the users of their logins, are nowhere in the redacted file."""
    names = {"hub": "opc-admin@hub.corp.example:22", "spoke1": "paris-db1", "spoke2": "spoke2"}
    run = bundle.of_run(one_run)
    findings = [{**one, "host": names["hub"]} for one in run.results["findings"]]
    results = {**run.results, "findings": findings, "environment": {"hosts": ", ".join(names.values())}}
    named = bundle.Bundle(
        tuple(bundle.Case(case.scene, names) for case in run.cases), results, "lost on paris-db1 (hub.corp.example)"
    )
    file = tmp_path / "redacted.tar.gz"

    bundle.write(redacted(named), file, {})

    left = b"".join(unpacked(file).values())
    assert [word for word in (b"corp", b"paris", b"opc-admin") if word in left] == []
    assert [one.host for one in bundle.read(file).reported] == ["hub"]
    assert {one.host for one in bundle.read(file).found.values()} == {"hub"}


def rewritten(change: Callable[[dict[str, bytes]], None]) -> Callable[[Path], bytes]:
    """A bundle that was changed in some of its files."""

    def make(file: Path) -> bytes:
        files = unpacked(file)
        change(files)
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        return packed.getvalue()

    return make


def scenes(before: bytes, after: bytes) -> Callable[[Path], bytes]:
    """A bundle in whose scenes a text is another one."""

    def change(files: dict[str, bytes]) -> None:
        assert before in files[bundle.SCENES]
        files[bundle.SCENES] = files[bundle.SCENES].replace(before, after, 1)

    return rewritten(change)


class Command:
    """What runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('executed')",)


HOSTILE = {
    "nothing": (lambda file: b"", "empty file"),
    "another file": (lambda file: b"%PDF-1.4 something else", "it is not a gzip file"),
    "cut off": (lambda file: file.read_bytes()[:9000], "end-of-stream"),
    "a pickle": (lambda file: gzip.compress(pickle.dumps(Command())), "truncated header"),
    "too large": (lambda file: gzip.compress(bytes(bundle.MOST + 1)), "larger than 128 MiB"),
    "no scenes": (rewritten(lambda files: files.pop(bundle.SCENES) and None), "it has no diagnosis.jsonl"),
    "no results": (rewritten(lambda files: files.update({bundle.RESULTS: b"[]"})), "its conformance.json has no"),
    "no scene": (rewritten(lambda files: files.update({bundle.SCENES: b"[]"})), "Expected `object`, got `array`"),
    "deep": (scenes(b'"case":', b'"case":' + b"[" * 100_000), "recursion"),
    "another schema": (scenes(b'"schema":2', b'"schema":99'), "have schema 99, this version of Overcast reads 2"),
    "another field": (scenes(b'"planned":', b'"__class__":'), "missing required field `planned`"),
    "a field of a record": (scenes(b'"up":true', b'"__class__":true'), "missing required field `up`"),
    "another type": (scenes(b'"up":true', b'"up":"x"'), "Expected `bool`, got `str`"),
    "no address": (scenes(b'"overlay":"', b'"overlay":"x'), "Only decimal digits"),
    "a host without a plan": (scenes(b'"spoke2":{"plan"', b'"spoke9":{"plan"'), "do not belong together"),
}
"""What a file is instead of a bundle, and what is said about it."""


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_file_that_is_no_bundle_is_refused(one_run: Path, tmp_path: Path, hostile: str) -> None:
    """For any error in a file, one message names it and how to write a bundle; nothing in it is executed."""
    file, other = tmp_path / "run.tar.gz", tmp_path / "other.tar.gz"
    make, why = HOSTILE[hostile]
    bundle.write(bundle.of_run(one_run), file, {})
    other.write_bytes(make(file))

    with pytest.raises(EnvironmentProblem) as refused:
        bundle.read(other)

    first, fix = str(refused.value).splitlines()
    assert first.startswith(f"bundle {other} cannot be read: ")
    assert why in first
    assert fix.startswith("  fix: ./overcast bundle")


def test_a_refusal_is_no_traceback(tmp_path: Path) -> None:
    """The command ends with the message and status 1."""
    printed = overcast("explain", str(tmp_path / "none"), status=1)

    assert printed.startswith(f"overcast: bundle {tmp_path}/none cannot be read: No such file")
    assert "Traceback" not in printed


def test_what_is_in_a_file_does_not_reach_the_terminal_as_a_command(one_run: Path, tmp_path: Path) -> None:
    """Control sequences in a stranger's file are not obeyed, and nothing is unpacked to where its names lead."""
    file, other = tmp_path / "run.tar.gz", tmp_path / "other.tar.gz"
    bundle.write(bundle.of_run(one_run), file, {})

    def change(files: dict[str, bytes]) -> None:
        results = json.loads(files[bundle.RESULTS])
        results["findings"][0].update(node="hub\x1b]0;title\x07", summary="\x1b[2J gone")
        files[bundle.RESULTS] = json.dumps(results).encode()
        files["../../escaped"] = b"x"

    other.write_bytes(rewritten(change)(file))
    printed = overcast("explain", str(other))

    assert "gone" in printed
    assert "\x1b" not in printed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.tar.gz", "run.tar.gz"]


def test_a_run_without_failures_has_nothing_to_explain(worker: Worker, tmp_path: Path) -> None:
    """After a run without failures the command reports this, and how to name another run."""
    worker.run([*OPTIONS, f"--reports={tmp_path}", TESTS[0], "-k", "exactly_once"])

    printed = overcast("bundle", f"--reports={tmp_path}", "-o", str(tmp_path / "run.tar.gz"), status=1)

    assert "none of its tests failed" in printed
    assert not (tmp_path / bundle.KEPT).exists()

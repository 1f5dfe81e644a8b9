"""Misuse is one message and status 2; doctor lists what is missing and its fix."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from lab.commands import options
from lab.commands.doctor import IPTABLES
from lab.commands.kept_lab import up
from lab.commands.main import COMMANDS, INTERRUPTED, main
from lab.interrupts import SIGNALS
from selftests.commands.conftest import Checkout


@pytest.fixture(autouse=True)
def _same_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands widen PATH; here that ends with the test."""
    monkeypatch.setenv("PATH", os.environ["PATH"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no command given: expected one of up, exec, down, doctor, watch, designs, load, plan"),
        (["uo"], "unknown command 'uo'"),
        (["up", "--tunnel=gre"], "unknown tunnel kind 'gre': expected one of gretap, vxlan"),
        (["up", "--topology=ring"], "unknown topology 'ring': expected one of star, bridged, article"),
        (["up", "--provider=ibm"], "unknown provider 'ibm'"),
        (["up", "--kernel=best"], "unknown kernel 'best': expected one of auto, host, guest"),
        (["up", "--spokes=0"], "--spokes=0: expected 1 to 250\n"),
        (["up", "--spokes=251"], "--spokes=251: expected 1 to 250; the overlay's /24 has no more addresses"),
        (["up", "--spokes=many"], "--spokes: expected a whole number; found 'many'\n  fix: ./overcast up --help"),
        (["up", "--routers=1.5"], "--routers: expected a whole number; found '1.5'"),
        (["up", "--routers=-1"], "--routers=-1: expected 0 to 16"),
        (["up", "--colour"], "unrecognized arguments: --colour"),
        (["exec"], "exec requires a node"),
        (["exec", "--", "true"], "exec requires a node"),
        (["down", "now"], "unrecognized arguments: now"),
        (["up", "--tunel=vxlan"], "unrecognized arguments: --tunel=vxlan\n  fix: did you mean --tunnel=vxlan?"),
        (["load", "--rate=abc"], "unrecognized arguments: --rate=abc\n  fix: ./overcast load --help    # lists the"),
        (["doctor", "--provider=oci"], "--provider requires --hosts=HUB,SPOKE,..."),
        (["doctor", "--sudo"], "--sudo requires --hosts=HUB,SPOKE,..."),
        (["doctor", "--hosts=hub"], "--hosts: expected at least two hosts; found "),
        (["doctor", "--hosts=hub,spoke1", "--tunnel=gre"], "unknown tunnel kind 'gre': expected one of gretap, vxlan"),
        (["designs", "ring"], "unknown design 'ring': expected one of star, standby, pair, mesh, flood-list"),
        (["designs", "--spokes=1"], "--spokes=1: expected 2 to 20"),
        (
            ["designs", "--provider=azure", "--tunnel=gretap"],
            "--tunnel=gretap: Azure VNet blocks GRE; use --tunnel=vxlan",
        ),
        (["load", "--provider=azure", "--tunnel=gretap"], "--tunnel=gretap: Azure VNet blocks GRE; use --tunnel=vxlan"),
        (
            ["doctor", "--hosts=hub,spoke1", "--ssh-identity-file=/no/key"],
            "--ssh-identity-file=/no/key: there is no such",
        ),
        (
            ["doctor", "--hosts=hub,spoke1", "--overlay=bridge0/24"],
            "--overlay: expected a device or a subnet (bridge0, 172.16.254.0/24); found 'bridge0/24'",
        ),
        (["load", "--hosts=hub,spoke1", "--overlay=172.16.254.5/24"], "--overlay: expected a device or a subnet"),
        (["designs", "--spokes=x"], "--spokes: expected a whole number; found 'x'"),
        (["designs", "--api-delay=-1"], "--api-delay=-1: expected 0 to 600 seconds"),
        (["designs", "--api-delay=x"], "--api-delay: expected a number; found 'x'"),
        (
            ["designs", "star", "mesh", "--api-delay=4"],
            "--api-delay=4 requires the standby topology, for which the cloud moves an address; found star, mesh",
        ),
        (["designs", "star", "--slow"], "--slow adds to all designs; found the names star: remove --slow"),
        (["watch"], "watch requires --hosts=HUB,SPOKE,..."),
        (["watch", "--hosts=hub"], "--hosts: expected at least two hosts; found "),
        (["watch", "--hosts=hub,spoke1", "--every=x"], "--every: expected a number; found 'x'"),
        (["watch", "--hosts=hub,spoke1", "--for=x"], "--for: expected a number; found 'x'"),
        (["watch", "--hosts=hub,spoke1", "--every=0"], "--every=0: expected 0.2 to 3600 seconds"),
        (["watch", "--hosts=hub,spoke1", "--every=nan"], "--every=nan: expected 0.2 to 3600 seconds"),
        (["watch", "--hosts=hub,spoke1", "--for=-1"], "--for=-1: expected a number of seconds greater than 0"),
        (["watch", "--hosts=hub,spoke1", "--provider=ibm"], "unknown provider 'ibm'"),
        (["watch", "--hosts=hub,spoke1", "--metrics=9467"], "--metrics=9467: expected ADDRESS:PORT"),
        (
            ["watch", "--hosts=hub,spoke1", "--metrics=host:70000"],
            "--metrics=host:70000: expected a port from 1 to 65535; found 70000",
        ),
        (["load", "--size=60"], "--size=60: expected a multiple of 8"),
        (["load", "--size=8"], "--size=8: expected 16 to 8192"),
        (["load", "--repeat=0"], "--repeat=0: expected 1 to 100"),
        (["load", "--load-max=0"], "--load-max=0: expected 1 to 10000000"),
        (["load", "--load-max=x"], "--load-max: expected a number; found 'x'"),
        (["load", "--size=x"], "--size: expected a whole number; found 'x'"),
        (["load", "--repeat=x"], "--repeat: expected a whole number; found 'x'"),
        (["load", "--buffer=x"], "--buffer: expected a whole number; found 'x'"),
        (["load", "--sudo"], "--sudo requires --hosts=HUB,SPOKE,..."),
        (["load", "--hosts=hub,spoke1", "--tunnel=vxlan"], "--tunnel: cannot be used with --hosts, whose overlay"),
        (["load", "--hosts="], "--hosts: expected at least two hosts; found "),
        (["bundle", "--hosts="], "--hosts: expected at least two hosts; found "),
        (["plan", "--hosts=", "--format=shell"], "--hosts: expected at least two hosts; found "),
        (["load", "--hosts=hub,spoke1", "--spokes=0"], "--spokes: cannot be used with --hosts, whose overlay"),
        (["load", "--hosts=hub,spoke1", "--routers=2"], "--routers: cannot be used with --hosts, whose overlay"),
        (["load", "--baseline=/nowhere"], "--baseline=/nowhere: No such file or directory"),
        (["plan", "--format=shell"], "expected --spokes=ADDRESS,... (with --hub=), or --hosts="),
        (["plan", "--format=shell", "--sudo"], "--sudo requires --hosts=HUB,SPOKE,..."),
        (
            ["plan", "--hub=10.0.0.4", "--spokes=10.0.0.5", "--format=shell", "--ssh-config=x"],
            "--ssh-config requires --hosts=HUB,SPOKE,...",
        ),
        (
            ["plan", "--hosts=hub,spoke1", "--hub=10.0.0.4", "--format=shell"],
            "--hub cannot be used with --hosts, whose first host is the hub",
        ),
        (
            ["plan", "--spokes=10.0.0.5", "--format=shell", "--firewall=ufw"],
            "unknown firewall 'ufw': expected one of nft, firewalld, iptables",
        ),
        (
            ["plan", "--hub=10.0.0.4", "--spokes=10.0.0.5", "--format=shell", "--mtu=x"],
            "--mtu: expected a whole number; found 'x'",
        ),
        (["plan", "--spokes=10.0.0.5", "--format=dhcp"], "unknown format 'dhcp': expected one of networkd, netplan"),
        (["plan", "--spokes=web", "--format=shell"], "--spokes: expected an address, or NAME=ADDRESS; found 'web'"),
        (["plan", "--spokes=10.0.0.5", "--format=shell"], "--hub: the star topology expects 1 hub; found 0"),
        (
            ["plan", "--hub=10.0.0.5", "--spokes=10.0.0.5", "--format=shell"],
            "--hub, --spokes: expected each host once; found the address '10.0.0.5' twice",
        ),
        (
            ["plan", "--hub=10.0.0.4", "--spokes=hub=10.0.0.5", "--format=shell"],
            "--hub, --spokes: expected each host once; found the name 'hub' twice",
        ),
        (
            ["plan", "--hub=fd00::1", "--spokes=10.0.0.5", "--format=shell"],
            "--hub: expected IPv4 addresses for this tunnel; found fd00::1",
        ),
        (
            ["plan", "--hub=../x=10.0.0.4", "--spokes=10.0.0.5", "--format=shell"],
            "--hub: expected a name without a slash",
        ),
        (
            ["plan", "--hub=10.0.0.4", "--spokes=10.0.0.5", "--format=shell", "--mtu=1"],
            "--mtu=1: expected 1280 to 65535",
        ),
        (
            ["plan", "--hub=10.0.0.4", "--spokes=10.0.0.5", "--format=shell", "--overlay-subnet=10.0.0.4/31"],
            "--overlay-subnet=10.0.0.4/31: expected a subnet for 2 hosts, e.g. 172.16.253.0/24",
        ),
        (
            ["plan", "--hub=10.0.0.4", "--spokes=10.0.0.5", "--format=shell", "--overlay-subnet=224.0.0.0/8"],
            (
                "--overlay-subnet=224.0.0.0/8: expected a subnet of unicast addresses, e.g. 172.16.253.0/24; "
                "found multicast addresses (224.0.0.0/4)"
            ),
        ),
        (
            ["plan", "--hub=10.0.0.4", "--spokes=10.0.0.5", "--format=shell", "--topology=native"],
            "--topology=native has no overlay to plan or set up",
        ),
        (
            ["plan", "--hub=10.0.0.4", "--spokes=10.0.0.5", "--format=shell", "--topology=ring"],
            (
                "unknown topology 'ring': expected one of star, bridged, article, pair, mesh, flood-list, "
                "two-hubs-bond, two-hubs-prp\n"
            ),
        ),
        (["designs", "native"], "native has no hub or tunnel that can fail"),
        (
            ["plan", "--hub=10.0.0.4", "--spokes=10.0.0.5", "--format=shell", "--overlay-subnet=10.0.0.0/24"],
            "--overlay-subnet=10.0.0.0/24 contains the underlay address 10.0.0.4 of hub",
        ),
        (
            ["plan", "--spokes=10.0.0.4,10.0.0.5", "--topology=native", "--format=shell"],
            "--topology=native has no overlay to plan or set up; to test multicast without one in a lab: ./overcast",
        ),
        (["bench", "--kernel=best"], "unknown kernel 'best': expected host, guest or both"),
        (["bench", "--spokes=2,x"], "--spokes=2,x: expected numbers"),
    ],
)
def test_misuse_is_one_message(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    """Status 2 and the expected value, before anything is started."""
    assert main(arguments) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith(f"overcast: {message}")
    assert len(errors.splitlines()) <= 2


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1", "loopback"),
        ("224.0.0.5", "multicast"),
        ("0.0.0.0", "unspecified"),
        ("255.255.255.255", "limited broadcast"),
        ("240.0.0.1", "reserved"),
        ("::1", "loopback"),
        ("ff02::1", "multicast"),
        ("::", "unspecified"),
    ],
)
@pytest.mark.parametrize("option", ["--hub", "--spokes"])
def test_only_unicast_addresses_are_planned(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, option: str, address: str, why: str
) -> None:
    """An address that no host can have is rejected with the reason, and no file is written."""
    tunnel, other = ("ip6gretap", "fd00::1") if ":" in address else ("gretap", "10.0.0.4")
    hosts = {"--hub": other, "--spokes": other, option: f"web={address}"}
    words = [f"{name}={value}" for name, value in hosts.items()]
    assert main(["plan", *words, f"--tunnel={tunnel}", "--format=shell", "-o", str(tmp_path / "files")]) == 2
    assert capsys.readouterr().err == (
        f"overcast: {option}: expected the hosts' unicast addresses; found {address} ({why})\n"
    )
    assert not (tmp_path / "files").exists()


@pytest.mark.parametrize("command", ["plan", "designs"])
def test_help_offers_what_the_command_accepts(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """Neither a topology that is not planned nor a design that has nothing to lose is offered."""
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = capsys.readouterr().out
    assert re.search(r"\btwo-hubs-prp\b", text)
    assert not re.search(r"\bnative\b", text)
    assert command == "designs" or not re.search(r"\b(standby|two-hubs-stp)\b", text)


@pytest.mark.parametrize("command", ["up", "designs", "watch", "load"])
def test_help_names_the_default_cloud_of_the_command(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """A command of labs names no live hosts, and one of live hosts no lab."""
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert ("the hub's firmware names" in text) is (command in ("watch", "load"))
    assert ("(default: oci" in text) is (command != "watch")


@pytest.mark.parametrize(
    ("tunnel", "answer"),
    [("gretap", "no host answers: the cloud drops the tunnel packets"), ("vxlan", "every other host answers")],
)
def test_up_suggests_what_the_cloud_delivers(tunnel: str, answer: str) -> None:
    """Where the cloud drops the tunnel packets, no host is said to answer."""
    given = {"kernel": None, "provider": "azure", "topology": None, "tunnel": tunnel, "spokes": None}
    plan = options.planned(given)
    if shutil.which("ping") is None:
        pytest.skip("ping is not installed: sudo apt-get install iputils-ping")
    assert next(line for line in up.suggestions(plan) if " ping -b " in line).endswith(f"   # {answer}")


UNREACHED = "--hosts=nosuch.invalid,other.invalid"


def test_the_last_line_names_the_problem_of_each_host(capsys: pytest.CaptureFixture[str]) -> None:
    """Hosts that were not reached are named as such."""
    assert main(["doctor", UNREACHED]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == (
        "the hosts are not ready: nosuch.invalid (hub): not reached; other.invalid (spoke1): not reached"
    )


def test_a_bundle_of_unreachable_hosts_names_the_reason_of_each(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Each host has its reason; the fix is the doctor with the same options."""
    assert main(["bundle", UNREACHED, "--tunnel=vxlan", "-o", str(tmp_path / "file")]) == 1
    message, *reasons, fix = capsys.readouterr().err.splitlines()
    assert message == "overcast: the overlay could not be diagnosed, so a bundle would have no findings"
    assert [line.partition(" not reached: ")[0] for line in reasons if line[2] != " "] == [
        "  nosuch.invalid (hub):",
        "  other.invalid (spoke1):",
    ]
    assert fix == f"  fix: ./overcast doctor {UNREACHED} --tunnel=vxlan"


def test_a_bundle_without_results_names_the_run_that_writes_them(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The message does not claim that there was no run; the fix writes to the same folder."""
    assert main(["bundle", f"--reports={tmp_path}"]) == 1
    assert capsys.readouterr().err == (
        f"overcast: {tmp_path} has no conformance.json: the last run there did not finish, or there was none\n"
        f"  fix: ./overcast --reports={tmp_path}\n"
    )


@pytest.mark.parametrize(("name", "found"), [("file", "a file"), ("nothing", "no such folder")])
def test_a_bundle_requires_a_folder_of_results(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, found: str
) -> None:
    """Neither a file nor a misspelt folder is named as the place of a new run."""
    (tmp_path / "file").write_text("")
    assert main(["bundle", f"--reports={tmp_path / name}"]) == 2
    first, fix = capsys.readouterr().err.splitlines()
    assert first == (
        f"overcast: --reports={tmp_path / name}: expected a folder with the results of a run; found {found}"
    )
    assert str(tmp_path) not in fix


def test_explain_names_both_ways_to_a_bundle(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A run leaves the results for a bundle; the doctor leaves none, so live hosts are named."""
    (tmp_path / "junk").write_text("junk")
    for name in ("junk", "nothing"):
        assert main(["explain", str(tmp_path / name)]) == 1
        assert capsys.readouterr().err.endswith(
            "./overcast bundle    # packs the last run with failed tests; to pack live hosts: "
            "./overcast bundle --hosts=HUB,SPOKE,...\n"
        )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """--help shows the usage and ends with status 0."""
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: overcast {command}")


def test_misuse_ends_the_process_with_2(checkout: Checkout) -> None:
    """The status reaches the shell."""
    done = checkout.run("up", "--tunnel=gre")
    assert (done.status, done.output) == (2, "")
    assert "Traceback" not in done.errors


def test_an_interrupt_while_python_starts_is_no_traceback(checkout: Checkout) -> None:
    """A signal that came before the command could note it, as ./overcast starts it, ends it in one line."""

    def interrupted_already() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        os.kill(os.getpid(), signal.SIGINT)

    command = [*checkout.command("bench")]
    done = subprocess.run(
        command, cwd=checkout.path, preexec_fn=interrupted_already, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (INTERRUPTED, "", "overcast: interrupted\n")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(checkout: Checkout, closed: str) -> None:
    """A closed stream is not needed; the command works without it."""
    command = " ".join(checkout.command("doctor"))
    done = subprocess.run(
        ["sh", "-c", f"{command} {closed}"], cwd=checkout.path, capture_output=True, text=True, check=False
    )
    assert done.returncode == checkout.run("doctor").status
    assert done.stderr == ""


def test_doctor_is_quick_and_names_the_remedy_of_every_lack(checkout: Checkout) -> None:
    """Each line has its state; a missing prerequisite is followed by its fix; the last line is the verdict."""
    began = time.monotonic()
    done = checkout.run("doctor")
    took = time.monotonic() - began
    *lines, empty, verdict = done.output.splitlines()
    assert empty == ""
    assert all(re.match(r"(ok|warning|problem|) +\S", line) or "fix: " in line for line in lines)
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        assert not line.startswith("problem") or "fix: " in following
    assert (verdict == "the suite can run: ./overcast") == (done.status == 0)
    assert took < 5.0  # half a second on a machine that has nothing else to do


def test_doctor_reports_to_programs(checkout: Checkout) -> None:
    """With --json the same lines are one document, and the status is the same."""
    done = checkout.run("doctor", "--json")
    report = json.loads(done.output)
    assert (report["schema"], report["exit_status"], report["ready"]) == (1, done.status, done.status == 0)
    said = {line[9:].split("  ")[0].strip() for line in checkout.run("doctor").output.splitlines() if line[:2].strip()}
    assert {check["check"] for check in report["checks"]} <= said
    assert all(check["fix"] for check in report["checks"] if check["state"] == "problem")


def test_doctor_misses_iptables(checkout: Checkout) -> None:
    """Where iptables cannot be run it is a lack, with the package that brings it, and status 1."""
    there = [path for name in IPTABLES if (path := shutil.which(name, path=f"/usr/sbin:/sbin:{os.environ['PATH']}"))]
    hide = "".join(f"mount --bind /dev/null {os.path.realpath(path)} && " for path in there)
    rootless = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = " ".join(checkout.command("doctor"))
    done = subprocess.run(
        ["unshare", "--mount", *rootless, "sh", "-c", f"{hide}{command}"],
        cwd=checkout.path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert re.search(r"problem  iptables +not installed.*\n.*fix: sudo apt-get install iptables", done.stdout)
    assert done.stdout.splitlines()[-1] == ("the suite cannot run: 1 problem; apply its fix, then: ./overcast doctor")

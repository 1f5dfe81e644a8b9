"""Options of the suite that cannot be meant: one message and status 4, before anything is started."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest

from lab.faults import catalogue
from lab.machines.base import ROOT
from selftests import plain


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a part of the suite, or returns the reason why it does not run."""
    return run_on("tests/broadcast", *arguments)


def run_on(tests: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs some tests of the suite."""
    return plain.run("-q", tests, *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hosts="], "--hosts: expected at least two hosts; found none"),
        (["--rehearse"], "--rehearse requires --hosts=HUB,SPOKE,..."),
        (["--sudo"], "--sudo requires --hosts=HUB,SPOKE,..."),
        (["--ssh-config=x"], "--ssh-config requires --hosts=HUB,SPOKE,..."),
        (
            ["--inject=hub9: true"],
            "--inject='hub9: true' names a node that the lab does not have: expected one of vcn, hub, spoke1, spoke2",
        ),
        (
            ["--overlay-subnet=10.20.16.0/28"],
            "--overlay-subnet=10.20.16.0/28: expected /24 or a shorter prefix for a lab",
        ),
        (
            ["--overlay-subnet=10.0.0.0/24"],
            "--overlay-subnet=10.0.0.0/24 contains the underlay address 10.0.0.197 of hub",
        ),
        (
            ["--overlay-subnet=10.20.16.5/24"],
            "--overlay-subnet=10.20.16.5/24: this is a host's address; expected its subnet: 10.20.16.0/24",
        ),
        (
            ["--overlay-subnet=127.0.0.0/16"],
            (
                "--overlay-subnet=127.0.0.0/16: expected a subnet of unicast addresses, e.g. 172.16.253.0/24; "
                "found loopback addresses (127.0.0.0/8)"
            ),
        ),
        (["--hosts=a,b", "--overlay-subnet=10.20.16.0/24"], "--overlay-subnet requires --provision"),
        (["--inject=port-detach"], "--inject=port-detach: unknown fault (did you mean port-detached"),
        (["--inject=spoke3: true"], "--inject='spoke3: true' names a node that the lab does not have"),
        (
            ["--hosts=a,b", "--kernel=host"],
            "--kernel cannot be used with --hosts: live hosts have their own kernels",
        ),
        (["--hosts=a,b,c", "--spokes=3"], "--spokes=3: --hosts names 2 spokes; remove --spokes"),
        (
            ["--hosts=a,b", "--topology=article"],
            "--topology cannot be used with --hosts, whose overlay is tested as it is",
        ),
        (
            ["--hosts=a,b,c,d", "--provision", "--topology=native"],
            "--topology=native has no overlay to plan or set up; to test multicast without one in a lab: ./overcast",
        ),
        (
            ["--topology=native", "--provider=oci"],
            "--topology=native: Oracle Cloud VCN drops multicast; use --provider=aws-tgw or gcp-multicast, or another",
        ),
        (
            ["--topology=flood-list", "--provider=aws-tgw"],
            "--topology=flood-list: AWS VPC in a Transit Gateway multicast domain delivers multicast without tunnels",
        ),
        (
            ["--hosts=a,b,c", "--provision", "--inject=port-detached"],
            "--inject breaks hosts on purpose and is for labs only: remove --inject, or --hosts",
        ),
        (
            ["--requirements=BCAST-99"],
            "--requirements: unknown requirement 'BCAST-99' (did you mean BCAST-",
        ),
        (["--topology=standby", "--api-delay=-1"], "--api-delay=-1: expected 0 to 600 seconds"),
        (
            ["--api-delay=4"],
            "--api-delay=4 requires the standby topology, for which the cloud moves an address; found star",
        ),
        (
            ["--hosts=a,b,c", "--provision", "--topology=standby", "--api-delay=4"],
            "--api-delay cannot be used with --hosts: it is emulated in labs only; remove --api-delay",
        ),
        (["--load=0"], "--load=0: expected 1 to 10000000 datagrams a second"),
        (["--stream=5"], "--stream requires --hosts=HUB,SPOKE,..."),
        (["--hosts=a,b", "--stream=5", "--load=9"], "--load cannot be used with --stream, which runs no tests"),
        (["--hosts=a,b", "--stream=5", "--rehearse"], "--rehearse cannot be used with --stream, which runs no tests"),
        (["--hosts=a,b", "--stream=5", "--persistence"], "--persistence cannot be used with --stream"),
        (["--hosts=a,b", "--stream=5", "--applications"], "--applications cannot be used with --stream"),
        (["--hosts=a,b", "--stream=5", "--pairs=all"], "--pairs cannot be used with --stream"),
        (
            ["--inject=spokes-meshed", "--spokes=1"],
            "--inject=spokes-meshed requires --spokes=2 or more",
        ),
        (
            ["--inject=mesh-port-not-isolated", "--spokes=3"],
            "--inject=mesh-port-not-isolated requires --topology=mesh",
        ),
        (
            ["--spokes=51"],
            "--spokes=51: expected at most 50; with more hosts on one kernel, tests fail on a correct overlay",
        ),
        (["--spokes=0"], "--spokes=0: expected 1 to 50\n"),
        (["--spokes=two"], "--spokes: expected a whole number; found 'two'\n"),
        (["--load=fast"], "--load: expected a number; found 'fast'\n"),
        (["--stream=long"], "--stream: expected a number; found 'long'\n"),
        (["--api-delay=x"], "--api-delay: expected a number; found 'x'\n"),
        (["--pairs=some"], "--pairs: expected few or all; found 'some'\n"),
        (["--accept=all"], "--accept: expected unprivileged; found 'all'\n"),
        (["--hosts=a,b", "--spokes=3"], "--spokes=3: --hosts names 1 spoke; remove --spokes\n"),
        (["--reports="], "--reports: expected a folder; found nothing"),
        (["--reports=pytest.ini"], f"the results cannot be written to {ROOT}/pytest.ini: File exists"),
    ],
)
def test_what_cannot_be_meant_is_one_message(arguments: list[str], message: str) -> None:
    """An empty list of hosts is rejected: a lab tested instead would prove nothing about them."""
    done = run(*arguments)

    assert done.returncode == 4
    assert done.stderr.startswith(f"ERROR: {message}")
    assert "Traceback" not in done.stderr


def test_a_misspelt_option_is_answered_with_the_one_that_was_meant() -> None:
    """An unknown option is reported with the most similar one; its value is kept."""
    done = run("--tunel=vxlan", "--spoke=3")

    assert done.returncode == 4
    assert "unrecognized arguments: --tunel=vxlan --spoke=3" in done.stderr
    assert "did you mean: --tunnel=vxlan --spokes=3" in done.stderr
    assert "did you mean" not in run("--spokes=many").stderr


def test_where_the_cloud_blocks_gre_the_tunnels_are_vxlan() -> None:
    """--provider=azure alone is green; an explicit kind of tunnel is used, with a warning."""
    done = run("-v", "--provider=azure", "-k", "test_delivery")
    named = run("-v", "--provider=azure", "--tunnel=gretap", "--collect-only", "-k", "nothing")

    assert "Azure VNet blocks GRE, so the tunnels are vxlan (--tunnel=gretap shows what is lost)" in done.stdout
    assert done.returncode == 10, done.stdout
    assert "nothing passes through gretap tunnels; --tunnel=vxlan works there" in named.stdout


@pytest.mark.parametrize(("pairs", "senders"), [("few", "hub spoke1 spoke2 spoke5"), ("all", None)])
def test_of_many_hosts_a_few_send_unless_all_are_wanted(pairs: str, senders: str | None) -> None:
    """With five spokes a test is run for four senders; with --pairs=all for each host."""
    done = run("--spokes=5", f"--pairs={pairs}", "--collect-only", "tests/broadcast/test_delivery.py")

    found = set(re.findall(r"test_sender_receives_its_own_copy_once\[sender=(\w+)\]", done.stdout))
    assert found == set((senders or "hub spoke1 spoke2 spoke3 spoke4 spoke5").split())


WORKERS = ("-n", "2")


@pytest.mark.parametrize(
    ("fault", "message", "processes"),
    [
        ("hub: ip link set nosuch up", "hub: `ip link set nosuch up` ended with exit status 1: Cannot find device", ()),
        (
            "hub: ip link set nosuch up",
            "hub: `ip link set nosuch up` ended with exit status 1: Cannot find device",
            WORKERS,
        ),
        ("hub: nosuch", "hub: `nosuch` ended with exit status 127: ", ()),
        ("hub: sleep 1000; true", "hub: `sh -c 'sleep 1000; true'` did not end within 10 s", ()),
        ("r1: true", "--inject=r1: ...: unknown node r1", ()),
        ("r1: true", "--inject=r1: ...: unknown node r1", WORKERS),
    ],
    ids=["fails", "fails in a worker", "not found", "hangs", "no such node", "no such node of a worker"],
)
def test_a_command_that_cannot_be_injected_ends_the_run(fault: str, message: str, processes: tuple[str, ...]) -> None:
    """A fault that one lab does not accept fails for every lab: one message, the status of misuse, no verdict."""
    done = run(f"--inject={fault}", "--tunnel=vxlan", *processes)

    assert done.returncode == 4
    assert done.stderr.startswith(f"ERROR: --inject={fault!r} cannot be injected: {message}")
    assert (done.stdout + done.stderr).count("cannot be injected") == 1
    assert "; correct the command\n" in done.stderr
    assert "outcomes.Exit" not in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "verdict" not in done.stdout
    assert " error" not in done.stdout


@pytest.mark.parametrize(
    "said",
    [
        "RTNETLINK answers: Operation not supported",
        "Error: Unknown device type.",
        "Error: TC classifier not found.\\nWe have an error talking to the kernel",
        "Error: Specified qdisc kind is unknown.",
    ],
    ids=["any", "tunnel", "filter", "qdisc"],
)
def test_a_fault_that_this_kernel_does_not_support_names_the_other_kernel(said: str) -> None:
    """Where the kernel rejects a command, the next step is a lab in a guest kernel; the message has one line."""
    command = f"printf '{said}' >&2; exit 2"
    text = said.partition(": ")[2].partition("\\n")[0].rstrip(".")
    done = run(f"--inject=hub: {command}", "--tunnel=vxlan", "--kernel=host")

    assert done.returncode == 4
    assert done.stderr.rstrip() == (
        f"ERROR: --inject={shlex.quote(f'hub: {command}')}: this kernel does not support it "
        f"(`{command}`: {text}); use --kernel=guest"
    )


@pytest.mark.parametrize(
    "fault",
    ["spoke2: true", "spokes-meshed", "loop", "duplicate-address", "duplicate-mac"],
    ids=lambda fault: fault.partition(":")[0],
)
def test_a_lab_without_what_a_fault_breaks_stays_whole(fault: str) -> None:
    """Tests that build a lab with one spoke are not broken by a fault for two."""
    one_spoke = "tests/icmp/test_broadcast_ping.py::test_as_many_answers_as_nodes[nodes=2]"
    done = run_on(one_spoke, f"--inject={fault}", "--tunnel=vxlan")

    assert "1 passed" in done.stdout, done.stdout


def test_a_command_is_run_in_labs_of_the_chosen_tunnels_alone() -> None:
    """A command with a gretap device's name breaks no test that builds a lab of VXLAN."""
    of_vxlan = "tests/underlay/test_vxlan.py::test_the_cloud_passes_vxlan_and_no_gre"
    done = run_on(of_vxlan, "--inject=hub: ip link set gretap1 txqueuelen 500", "--tunnel=gretap")

    assert "1 passed" in done.stdout, done.stdout


def test_the_faults_that_have_a_name_are_listed() -> None:
    """`--inject=list` describes each fault, and runs nothing."""
    done = run("--inject=list")

    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == len(catalogue.known())
    assert catalogue.named("port-detached").what in done.stdout


@pytest.mark.parametrize("expression", ["{}", "not {}"])
def test_the_old_name_of_a_marker_selects_the_same_tests(expression: str) -> None:
    """`-m provoking` selects the disruptive tests, as it did under the marker's old name."""
    listed = [
        run_on("tests/icmp", "--collect-only", "-m", expression.format(name)).stdout.splitlines()[:-1]
        for name in ("disruptive", "provoking")
    ]

    assert listed[0] == listed[1]
    assert any("::" in line for line in listed[0]), listed[0]

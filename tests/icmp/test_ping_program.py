"""
ping(8) and broadcast: what its count, its exit status and its summary prove (iputils).

    spoke1$ ping -b -c 2 172.16.254.255
    64 bytes from 172.16.254.2: icmp_seq=1        itself, from its own loopback
    64 bytes from 172.16.254.1: icmp_seq=1        the hub
    64 bytes from 172.16.254.3: icmp_seq=1        spoke2
    64 bytes from 172.16.254.2: icmp_seq=2        the first answer to the last probe: ping ends here
"""

import re
from collections import Counter

import pytest

from fixtures.requirements import not_run
from lab.stack.changes import link_set

ANSWER = re.compile(r"bytes from ([0-9.]+): icmp_seq=(\d+)")
SUMMARY = re.compile(r"(\d+) packets transmitted, (\d+) received(?:, \+(\d+) duplicates)?.* (\d+)% packet loss")
NOT_FOUND = 127  # what setpriv(1) exits with when the program that it is to run is not there
NOBODY = "65534"
ANY_GROUP = "0 2147483647"


@pytest.fixture
def run_ping():
    """Run ping(8) inside a host: `run_ping(host, "-b", address)`."""

    def run(host, *arguments, before=("ping",)):
        # where the kernel loses even what a host answers itself, ping(8) waits for it longer than the test
        deadline = ("-w", "1") if host.lost.kernel else ()
        done = host.node.run(*before, "-n", *deadline, *arguments)
        if done["status"] in (None, NOT_FOUND):
            said = f"{host.node.machine.name}: {done['errors'].strip()}"
            not_run(said, "sudo apt-get install iputils-ping util-linux")
        return done

    return run


def printed(done):
    """The output of ping(8), as the reason of a failure."""
    return f"ping(8) printed:\n{done['output']}"


def answers(done, probe):
    """How often each address answered one probe."""
    return Counter(address for address, number in ANSWER.findall(done["output"]) if int(number) == probe)


@pytest.mark.requirement("ICMP-02", "ICMP-03", "ICMP-04")
def test_answers_to_the_last_probe_are_cut_off(overlay, spoke1, everyone, run_ping):
    """`ping -c 2` counts each node's answer to its first probe and one to its second; it marks no duplicates."""
    all_hosts = Counter(host.address() for host in overlay.hosts.values())

    done = run_ping(spoke1, "-b", "-c", "2", "-i", "0.2", "-w", "2", everyone)

    assert (answers(done, 1), answers(done, 2).total()) == (all_hosts, 1), printed(done)
    transmitted, received, duplicates, loss = SUMMARY.search(done["output"]).groups()
    assert (transmitted, received, int(duplicates), loss) == ("2", "2", len(all_hosts) - 1, "0")
    assert "DUP!" not in done["output"]


@pytest.mark.requirement("ICMP-02")
def test_deadline_counts_answers_that_a_count_cuts_off(overlay, spoke1, everyone, run_ping):
    """`ping -c 1` reports one answer; Overcast's prober gets every node's answer to one probe."""
    counted = run_ping(spoke1, "-b", "-c", "1", everyone)
    fenced = spoke1.ping(everyone)

    assert answers(counted, 1).total() == 1, printed(counted)
    fenced.exactly_once_by(overlay.hosts)


@pytest.mark.disruptive
@pytest.mark.requirement("ICMP-03")
def test_success_without_the_hub_means_nothing(build_lab, run_ping):
    """With the hub off the network ping(8) still reports 0 % loss and exit status 0, from the pinger's own answer."""
    lab = build_lab()
    pinger = lab["spoke1"]
    lab.hub.node.apply(link_set(lab.hub.plan.nic, up=False))

    done = run_ping(pinger, "-b", "-c", "1", lab.everyone)

    assert (done["status"], SUMMARY.search(done["output"])[4]) == (0, "0"), printed(done)
    assert set(answers(done, 1)) == {pinger.address()}


@pytest.mark.requirement("ICMP-04")
def test_broadcast_needs_an_option(spoke1, everyone, run_ping):
    """Without -b ping(8) rejects a broadcast address with status 2 and a message that names -b."""
    done = run_ping(spoke1, "-c", "1", everyone)

    assert (done["status"], "Then -b" in done["errors"]) == (2, True), done["errors"]


@pytest.mark.disruptive
@pytest.mark.requirement("ICMP-04")
def test_unprivileged_broadcast_needs_a_full_second(mutable_lab, spoke1, everyone, run_ping):
    """Without root ping(8) needs ping_group_range, and rejects intervals below one second for broadcast."""
    unprivileged = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "ping")

    with spoke1.node.with_sysctl("net.ipv4.ping_group_range", ANY_GROUP):
        done = run_ping(spoke1, "-b", "-c", "1", "-i", "0.3", everyone, before=unprivileged)
    if "setpriv" in done["errors"]:
        not_run(f"cannot change to user `nobody`: {done['errors'].strip()}", "sudo pytest")

    assert (done["status"], "too short interval" in done["errors"]) == (2, True), done["errors"]

"""
A cluster of real programs: corosync on every host finds the others by UDP multicast, and they have a quorum.

    corosync on hub ── 239.192.7.7:5405 ──▶ corosync on spoke1, spoke2 ──▶ Members[3]: 1 2 3
"""

from lab.laboratory import Lab
from lab.machines import program

FORMED, LOST = 20.0, 20.0  # seconds: corosync waits for a token of one second, and a busy machine takes longer

NO_NAMES = {"/etc/nsswitch.conf": "hosts: files\n"}
"""Corosync looks for the names of all its addresses; in the lab no name server answers."""
CONFIG = """
totem {{
    version: 2
    cluster_name: overcast
    transport: udp
    crypto_cipher: none
    crypto_hash: none
    interface {{
        ringnumber: 0
        bindnetaddr: {network}
        mcastaddr: 239.192.7.7
        mcastport: 5405
    }}
}}
quorum {{
    provider: corosync_votequorum
    expected_votes: {votes}
}}
nodelist {{
{nodes}
}}
logging {{
    to_stderr: yes
    to_syslog: no
    to_logfile: no
}}
system {{
    state_dir: /run
}}
"""


def started(overlay: Lab) -> dict[str, program.Program]:
    """A corosync on every host, with the same configuration."""
    addresses = {name: host.address() for name, host in overlay.hosts.items()}
    nodes = "\n".join(
        f"    node {{\n        nodeid: {number}\n        ring0_addr: {address}\n    }}"
        for number, address in enumerate(addresses.values(), 1)
    )
    running = {}
    for name, host in overlay.hosts.items():
        text = CONFIG.format(network=host.address(), votes=len(addresses), nodes=nodes)
        files = {"corosync.conf": text, **NO_NAMES}
        running[name] = program.start(
            host.node, "corosync", "-f", "-c", "corosync.conf", package="corosync", files=files
        )
    return running


def members(count: int) -> str:
    """Corosync's output about a membership of so many."""
    return f"Members[{count}]: {' '.join(map(str, range(1, count + 1)))}"


def test_the_members_find_each_other(overlay: Lab) -> None:
    """Each member sees all of them, and when one ends the others go on without it."""
    running = started(overlay)
    hosts = len(running)

    for one in running.values():
        one.await_output(members(hosts), within=FORMED)

    last = list(running)[-1]
    running.pop(last).stop()
    for one in running.values():
        one.await_output(members(hosts - 1), within=LOST)
        one.stop()

"""
What programs of the hosts use already: groups that they are members of, ports that they have.

No probe uses any of them: it would hear their datagrams, hear its own where it joined nothing, or not get the port.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lab import groups
from lab.machines.node import Agent, Node, ask_all
from lab.probes import payloads
from lab.probes.host_state import membership

LISTENING = " 0A "  # the state of a TCP socket (TCP_LISTEN of net/tcp_states.h)
TABLES = {"udp": None, "udp6": None, "tcp": [LISTENING], "tcp6": [LISTENING]}
"""Tables of /proc/net that hold ports, and the words that a line must have."""


def avoid(nodes: Sequence[Node]) -> None:
    """Give no probe a group or a port that a program of these hosts uses."""
    ports = [(node, node.call(Agent.read_net, name, words)) for node in nodes for name, words in TABLES.items()]
    members = [(node, node.call(Agent.read_net, "igmp")) for node in nodes]
    texts = ask_all([*ports, *members])
    for table in texts[: len(ports)]:
        payloads.avoid_ports(ports_in(table))
    for table in texts[len(ports) :]:
        for joined in membership.groups_of(table).values():
            groups.avoid(joined)


def ports_in(table: str) -> Iterator[int]:
    """The local ports in the text of /proc/net/udp or another one of TABLES."""
    for line in table.splitlines():
        words = line.split()
        if len(words) > 1 and words[0].rstrip(":").isdigit():
            yield int(words[1].rpartition(":")[2], 16)

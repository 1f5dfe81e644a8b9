"""
The firewall of a node's operating system: iptables rules that last as long as a block.

Which iptables a kernel understands differs (legacy tables, or nftables underneath); the first one that works is used.
A guest kernel gets the modules that a rule needs loaded first: on a host, iptables does that itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from lab.errors import EnvironmentProblem
from lab.machines import abilities
from lab.machines.node import Node

TOOLS = {
    4: ("iptables-legacy", "iptables-nft", "iptables"),
    6: ("ip6tables-legacy", "ip6tables-nft", "ip6tables"),
}
MODULES = (
    "ip_tables",
    "iptable_filter",
    "xt_tcpudp",
    "xt_pkttype",
    "xt_addrtype",
    "xt_conntrack",
    "nf_conntrack",
    "xt_state",
)
MODULES_OF_IPV6 = ("ip6_tables", "ip6table_filter")
PROBED = "overcast"  # a chain
NOT_FOUND = 127  # the shell's status for a program that is not installed
_working: dict[tuple[int, int], str] = {}


def tool(node: Node, version: int = 4) -> str:
    """The iptables (of IPv6: ip6tables) that works on the node's kernel; EnvironmentProblem when none does."""
    known = _working.get((id(node.machine), version))
    if known is not None:
        return known
    node.machine.load_modules(*MODULES, *(MODULES_OF_IPV6 if version == 6 else ()))
    said: list[str] = []
    installed = False
    for name in TOOLS[version]:
        # only a change shows whether the kernel has the tables: nftables lists none without a word where it has none
        tried = node.run("sh", "-c", f"{name} -N {PROBED} && exec {name} -X {PROBED}")
        if tried["status"] == 0:
            _working[id(node.machine), version] = name
            return name
        installed = installed or tried["status"] != NOT_FOUND
        said.append(tried["errors"].strip().splitlines()[0] if tried["errors"].strip() else f"{name}: failed")
    raise EnvironmentProblem(
        f"no working iptables on {node.machine.name}: {'; '.join(said)}",
        remedy=with_modules(node, "iptables") if installed else "sudo apt-get install iptables",
    )


def with_modules(node: Node, what: str) -> str:
    """What brings modules to the kernel of a node, where a program is there and its kernel refuses it."""
    if node.machine.kind == "guest":
        return (
            f"install the user-mode-linux of Debian 12 or 13: its kernel has {what}, that of later ones lacks iptables"
        )
    return abilities.remedy(what) or "./overcast --kernel=guest   (a guest kernel has the modules)"


@contextlib.contextmanager
def rules(node: Node, *appended: Sequence[str], policy: Mapping[str, str] | None = None) -> Iterator[None]:
    """
    Appends rules (`("INPUT", "-p", "gre", "-j", "DROP")`) and sets chain policies, and takes all of it back.

    What iptables itself refuses is an EnvironmentProblem with its own words.
    """
    append(node, *appended, policy=policy)
    try:
        yield
    finally:
        _change(node, "-D", appended, dict.fromkeys(policy or {}, "ACCEPT"))


def append(node: Node, *appended: Sequence[str], policy: Mapping[str, str] | None = None) -> None:
    """Appends rules and sets chain policies for good, for as long as the lab lives."""
    _change(node, "-A", appended, policy or {})


def hits(node: Node, chain: str = "INPUT") -> list[int]:
    """Packets that each rule of a chain has matched, in the order of the rules."""
    listed = node.run(tool(node), "-L", chain, "-v", "-x", "-n")
    return [int(line.split()[0]) for line in listed["output"].splitlines()[2:] if line.strip()]


def _change(node: Node, verb: str, changed: Sequence[Sequence[str]], policy: Mapping[str, str]) -> None:
    """One iptables-restore for all of it, all or nothing: to start a program takes tens of milliseconds in a guest."""
    lines = ["*filter", *(f":{chain} {verdict}" for chain, verdict in policy.items())]
    lines += [" ".join((verb, *rule)) for rule in changed]
    document = "\n".join([*lines, "COMMIT"])
    done = node.run("sh", "-c", f"exec {tool(node)}-restore --noflush <<'END'\n{document}\nEND\n")
    if done["status"] != 0:
        raise EnvironmentProblem(f"{tool(node)}-restore failed on {node.name}: {done['errors'].strip()}\n{document}")

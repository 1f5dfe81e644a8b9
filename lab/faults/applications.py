"""
Faults of applications: firewalls of hosts that let every test datagram through and one application's not.

They turn red what real programs show (`--applications`) and nothing else: the overlay itself is well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lab.faults.fault import Fault, Named
from lab.host import Host
from lab.laboratory import Lab
from lab.machines import firewall

STATISTIC = ("xt_statistic",)  # modules that a guest's kernel loads only when told to
WELL = ("BCAST-08", "MCAST-12")
ONE_IN = 10  # of the datagrams of a feed


def _everyone(lab: Lab) -> Iterable[Host]:
    return lab.hosts.values()


def _hub(lab: Lab) -> Iterable[Host]:
    return [lab.hub]


def _last(lab: Lab) -> Iterable[Host]:
    return [lab.spokes[-1]]


def _drops(where: Callable[[Lab], Iterable[Host]], *match: str) -> Callable[[Lab], None]:
    """The firewalls of these hosts drop what comes through the tunnel and matches."""

    def inject(lab: Lab) -> None:
        for host in where(lab):
            firewall.append(host.node, ("INPUT", "-i", host.plan.device, *match, "-j", "DROP"))

    return inject


def _loses_some(lab: Lab) -> None:
    if lab.machine.kind == "guest":
        lab.machine.call("load_modules", names=list(STATISTIC))
    some = ("-m", "statistic", "--mode", "nth", "--every", str(ONE_IN), "--packet", "0")
    _drops(_last, "-p", "udp", "-d", "239.0.0.0/8", *some)(lab)


def _at(where: Callable[[Lab], Iterable[Host]]) -> Callable[[Lab], tuple[str, str]]:
    def place(lab: Lab) -> tuple[str, str]:
        host = next(iter(where(lab)))
        return host.name, host.plan.device

    return place


FAULTS = (
    Fault(
        "dhcp-filtered",
        "the hub's firewall drops DHCP that comes through the tunnels",
        ("APP-01",),
        _drops(_hub, "-p", "udp", "--dport", "67"),
        greens=WELL,
        finding=Named("dhcp-filtered", _at(_hub)),
    ),
    Fault(
        "mdns-filtered",
        "the firewalls of all hosts drop multicast DNS",
        ("APP-02",),
        _drops(_everyone, "-p", "udp", "--dport", "5353"),
        greens=WELL,
        finding=Named("mdns-filtered", _at(_everyone)),
    ),
    Fault(
        "vrrp-filtered",
        "the firewall of one spoke drops VRRP: it hears no other master",
        ("APP-03", "APP-04"),
        _drops(_last, "-p", "112"),
        greens=WELL,
        finding=Named("vrrp-filtered", _at(_last)),
    ),
    Fault(
        "cluster-filtered",
        "the firewall of one spoke drops the datagrams of corosync",
        ("APP-05",),
        _drops(_last, "-p", "udp", "--dport", "5405"),
        greens=WELL,
        finding=Named("cluster-filtered", _at(_last)),
    ),
    Fault(
        "feed-thinned",
        "the firewall of one spoke drops one in ten datagrams to organization-local groups",
        ("APP-06",),
        _loses_some,
        greens=("BCAST-01", "ICMP-01"),
        finding=Named("firewall-drops", _at(_last)),
    ),
)

"""
Layouts of an overlay of up to four hosts, as the commands that make them: stars in several numbers, shapes without a
hub, and others.

    hub 10.0.0.197      spoke1 10.0.0.25      spoke2 10.0.0.131      spoke3 10.0.0.2
"""

from __future__ import annotations

import re
from collections.abc import Mapping

HUB, SPOKE1, SPOKE2, SPOKE3 = "10.0.0.197", "10.0.0.25", "10.0.0.131", "10.0.0.2"
VXLAN = "dstport 4789 dev ens3 ttl 64"
GROUPS = "ip route add 224.0.0.0/4 dev"
PLACE = "ip link set {device} up && ip addr add {address} dev {device} && " + GROUPS + " {device}"

Commands = Mapping[str, tuple[str, ...]]
"""By host, what is run on it, in order."""


def tunnel(device: str, vni: int, local: str, remote: str, more: str = VXLAN) -> str:
    return f"ip link add {device} type vxlan id {vni} local {local} remote {remote} {more}"


def placed(device: str, address: str) -> str:
    return PLACE.format(device=device, address=address)


def bridge(name: str, *ports: str, mac: str = "") -> str:
    added = " && ".join(f"ip link set {port} up master {name}" for port in ports)
    return f"ip link add {name} {mac and f'address {mac} '}type bridge && {added}"


def star(
    vni1: int,
    vni2: int,
    *,
    net: str = "172.16.254",
    name: str = "bridge0",
    more: str = VXLAN,
    known: tuple[str, str, str] = (HUB, SPOKE1, SPOKE2),
) -> dict[str, tuple[str, ...]]:
    """A hub and two spokes, by VNIs; the devices are called after those.  `known`: by which addresses to the others."""
    one, two = f"vx{vni1}", f"vx{vni2}"
    return {
        "hub": (
            tunnel(one, vni1, HUB, known[1], more),
            tunnel(two, vni2, HUB, known[2], more),
            bridge(name, one, two, mac="02:00:ac:10:fe:01"),
            placed(name, f"{net}.1/24"),
        ),
        "spoke1": (tunnel(one, vni1, SPOKE1, known[0], more), placed(one, f"{net}.2/24")),
        "spoke2": (tunnel(two, vni2, SPOKE2, known[0], more), placed(two, f"{net}.3/24")),
    }


def star6() -> dict[str, tuple[str, ...]]:
    """The same over IPv6."""
    addresses = {HUB: "fd00:10::197", SPOKE1: "fd00:10::25", SPOKE2: "fd00:10::131"}
    made = {}
    for host, commands in star(1, 2).items():
        changed = []
        for command in commands:
            words = [addresses.get(word, word) if "type vxlan" in command else word for word in command.split()]
            changed.append(" ".join(words))
        made[host] = tuple(changed)
    return made


def flooding(device: str, *peers: str) -> tuple[str, ...]:
    appended = [f"bridge fdb append 00:00:00:00:00:00 dst {peer} dev {device}" for peer in peers]
    return (f"ip link add {device} type vxlan id 7 {VXLAN}", *appended)


def both(first: Commands, second: Commands) -> dict[str, tuple[str, ...]]:
    return {host: (*first[host], *second[host]) for host in first}


LINUX = VXLAN.replace("4789", "8472")
BRIDGED_SPOKE = {
    "spoke1": (tunnel("vx100", 100, SPOKE1, HUB, LINUX), bridge("br0", "vx100"), placed("br0", "172.16.254.2/24")),
}
SECOND = {
    host: tuple(command for command in commands if GROUPS not in command)
    + tuple(command.partition(f" && {GROUPS}")[0] for command in commands if GROUPS in command)
    for host, commands in star(11, 12, net="172.17.0", name="br1").items()
}
SEVERAL = both(SECOND, star(1, 2))
"""Two stars on the same hosts; multicast is routed to 172.16.254.0/24."""
# what is understood: the hosts' commands, and the hosts that are named; each has several differences, that meet nowhere
STARS: dict[str, tuple[Commands, str]] = {
    "other VNIs, the port of Linux, a spoke with a bridge": (
        {**star(100, 4711, more=LINUX), **BRIDGED_SPOKE},
        "hub,spoke1,spoke2",
    ),
    "a subset of the hosts, a second overlay beside it": (SEVERAL, "hub,spoke1"),
}

PAIR = {
    "hub": (tunnel("vx1", 1, HUB, SPOKE1), placed("vx1", "172.16.254.1/24")),
    "spoke1": (tunnel("vx1", 1, SPOKE1, HUB), placed("vx1", "172.16.254.2/24")),
    "spoke2": (),
}
LISTS = {
    host: (*flooding("vx7", *(peer for peer in (HUB, SPOKE1, SPOKE2) if peer != own)), placed("vx7", address))
    for host, own, address in (
        ("hub", HUB, "172.16.254.1/24"),
        ("spoke1", SPOKE1, "172.16.254.2/24"),
        ("spoke2", SPOKE2, "172.16.254.3/24"),
    )
}


def meshed(own: str, address: str, ports: Mapping[str, tuple[int, str]]) -> tuple[str, ...]:
    made = tuple(tunnel(port, vni, own, peer) for port, (vni, peer) in ports.items())
    isolated = tuple(f"bridge link set dev {port} isolated on" for port in ports)
    return (*made, bridge("br0", *ports), *isolated, placed("br0", address))


MESH = {
    "hub": meshed(HUB, "172.16.254.1/24", {"vx1": (1, SPOKE1), "vx2": (2, SPOKE2)}),
    "spoke1": meshed(SPOKE1, "172.16.254.2/24", {"vx1": (1, HUB), "vx3": (3, SPOKE2)}),
    "spoke2": meshed(SPOKE2, "172.16.254.3/24", {"vx2": (2, HUB), "vx3": (3, SPOKE1)}),
}
CHAIN = {
    "hub": (
        tunnel("vx1", 1, HUB, SPOKE1),
        tunnel("vx3", 3, HUB, SPOKE3),
        bridge("bridge0", "vx1", "vx3"),
        placed("bridge0", "172.16.254.1/24"),
    ),
    "spoke1": (
        tunnel("vx1", 1, SPOKE1, HUB),
        tunnel("vx2", 2, SPOKE1, SPOKE2),
        bridge("bridge0", "vx1", "vx2"),
        placed("bridge0", "172.16.254.2/24"),
    ),
    "spoke2": (tunnel("vx2", 2, SPOKE2, SPOKE1), placed("vx2", "172.16.254.3/24")),
    "spoke3": (tunnel("vx3", 3, SPOKE3, HUB), placed("vx3", "172.16.254.4/24")),
}
# each host has an address that the others know it by, and that is not its own: a cloud's public address
PUBLIC = ("203.0.113.1", "203.0.113.2", "203.0.113.3")
TRANSLATED = (
    *(
        f"iptables -t nat -A OUTPUT -d {public} -j DNAT --to-destination {own}"
        for public, own in zip(PUBLIC, (HUB, SPOKE1, SPOKE2), strict=True)
    ),
    "ip route add 203.0.113.0/24 dev ens3",
)
SHAPES: dict[str, tuple[Commands, str]] = {
    "pair": (PAIR, "hub,spoke1"),
    "mesh": (MESH, "spoke2,hub,spoke1"),
    "flood-list": (LISTS, "hub,spoke1,spoke2"),
}
OTHERS: dict[str, tuple[Commands, str]] = {
    "chained hubs": (CHAIN, "hub,spoke1,spoke2,spoke3"),
    "translated addresses": (
        {host: (*TRANSLATED, *commands) for host, commands in star(1, 2, known=PUBLIC).items()},
        "hub,spoke1,spoke2",
    ),
    "VXLAN over IPv6": (star6(), "hub,spoke1,spoke2"),
}


def undo(commands: Commands) -> dict[str, tuple[str, ...]]:
    """What takes a layout down again."""
    gone = {}
    for host, each in commands.items():
        made = [name for command in each for name in re.findall(r"ip link add (\S+)", command)]
        tables = ["iptables -t nat -F OUTPUT"] if any("iptables" in command for command in each) else []
        routes = [command.replace(" add ", " del ") for command in each if command.startswith("ip route add")]
        gone[host] = (*(f"ip link del {name}" for name in reversed(made)), *tables, *routes)
    return gone

"""Rules of what every host does by itself: its loopback, its neighbours and connections."""

from __future__ import annotations

from collections.abc import Iterator

from lab.diagnose.codes import declared
from lab.diagnose.parameters import CONNECTIONS, MOST_CONNECTIONS
from lab.diagnose.scene import HostScene, Scene
from lab.model import Finding
from lab.probes.neighbour_tables import LIMIT, FullTable

LOOPBACK = "lo"
TIMES = 4  # the room that is proposed where there was none
ELSEWHERE = "  # on the machine that has the kernel of {}"
DROPPED, FULL = "Conntrack:drop", 0.9


def loopback(host: HostScene) -> Iterator[Finding]:
    """The loopback device is up, by which a host answers itself."""
    device = host.seen.devices.get(LOOPBACK)
    if device is not None and not device.up:
        yield host.declared("loopback-down", LOOPBACK)


def neighbours(scene: Scene) -> Iterator[Finding]:
    """The kernels have room for the neighbours of their hosts."""
    yield from map(no_room, scene.full_tables)


def no_room(table: FullTable) -> Finding:
    """The finding of a table of neighbours that was full."""
    return declared(
        "neighbour-table-full",
        table.node,
        "",
        name=LIMIT,
        limit=table.limit,
        refused=table.refused,
        more=TIMES * table.limit,
        elsewhere="" if table.settable else ELSEWHERE.format(table.node),
    )


def connections(scene: Scene, host: HostScene) -> Iterator[Finding]:
    """The kernels have room for the connections that they track."""
    dropped, held, most = host.counted.get(DROPPED, 0), *map(host.parameter, (CONNECTIONS, MOST_CONNECTIONS))
    if dropped and held >= FULL * most:  # with room, the kernel drops what it tracked twice at the same time
        found = f"{held} connections, room for {most}"
        found = f"{found}; {dropped} packets dropped (drop in /proc/net/stat/nf_conntrack)"
        elsewhere = ELSEWHERE.format(host.name) if scene.planned else ""
        yield host.declared("conntrack-full", "", found, more=TIMES * most, elsewhere=elsewhere)


RULES = (loopback, neighbours, connections)

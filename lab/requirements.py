"""
The requirements catalogue: what an overlay must do, as data.

The texts live in `catalogue.json`, so that they can be read and reviewed without Python.  `docs/requirements.md` is
generated from them and from the tests that assert them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from lab.clouds.native_multicast import CLOUDS

Level = Literal["MUST", "SHOULD"]

CATALOGUE_FILE = Path(__file__).with_name("catalogue.json")


@dataclass(frozen=True)
class Requirement:
    """One checkable behaviour."""

    id: str
    level: Level
    statement: str
    source: str
    broken_by: str
    diagnosis: str
    """What to tell the user when it does not hold."""
    needs: tuple[str, ...] = ()
    """What a network must deliver or have for it to mean anything (`LACKS`); where nothing is said, its area's."""

    @property
    def area(self) -> str:
        """The area that the id begins with, such as `BCAST`."""
        return area_of(self.id)


def area_of(identity: str) -> str:
    """Return the area of a requirement's id."""
    return identity.rpartition("-")[0]


def _read(path: Path) -> tuple[Mapping[str, str], Mapping[str, Requirement]]:
    """Read areas (id to title) and requirements (by id), both in the order of the file."""
    data = json.loads(path.read_text(encoding="utf-8"))
    areas = {area["id"]: area["title"] for area in data["areas"]}
    needs = {area["id"]: tuple(area.get("needs", ())) for area in data["areas"]}
    requirements = {
        entry["id"]: Requirement(**{"needs": needs[area_of(entry["id"])], **entry}) for entry in data["requirements"]
    }
    return MappingProxyType(areas), MappingProxyType(requirements)


AREAS, CATALOGUE = _read(CATALOGUE_FILE)
_RANK = {identity: number for number, identity in enumerate(CATALOGUE)}

LACKS: Mapping[str, str] = MappingProxyType(
    {
        "tunnels": "requires tunnels; here the cloud itself delivers multicast",
        "broadcast": "requires broadcast; the cloud delivers only unicast and multicast",
        "sources": "requires IGMPv3 and source filters; the cloud accepts only IGMPv2 reports",
        "flooding": "requires multicast that reaches other hosts than members; the cloud delivers only to members",
        "fragments": "requires fragments of multicast packets, which the cloud's documents do not list as delivered",
        "link-local groups": "requires 224.0.0.0/24; the cloud's documents do not list it as delivered",
    }
)
"""What a cloud that delivers groups itself does not have, each with the reason why what needs it does not apply."""

# The areas on demand, and the option of each; any cloud that delivers groups itself has NATIVE.
ON_DEMAND: Mapping[str, str] = MappingProxyType(
    {"NATIVE": f"--provider={next(iter(CLOUDS))}", "APP": "--applications", "BOOT": "--persistence", "LOAD": "--load"}
)

# The areas that every run promises to cover: every MUST of them has to run and to hold for `conformant`.
SCOPE: tuple[str, ...] = tuple(area for area in AREAS if area not in ON_DEMAND)


def scope(asked: Callable[[str], object]) -> tuple[str, ...]:
    """Return the areas that a run covers, in the order of the catalogue; `asked`: the value of an option, if given."""

    def covers(area: str) -> bool:
        option, _, value = ON_DEMAND[area].removeprefix("--").partition("=")
        return asked(option) in CLOUDS if value else bool(asked(option))

    return tuple(area for area in AREAS if area not in ON_DEMAND or covers(area))


def in_scope(areas: Sequence[str] = SCOPE) -> tuple[Requirement, ...]:
    """Return the requirements that count for the verdict, in the order of the catalogue."""
    return tuple(requirement for requirement in CATALOGUE.values() if requirement.area in areas)


def counted(held: int, failed: int, not_run: int, kind: str = "MUST requirements", causes: str = "") -> str:
    """Return how many requirements hold: `82 of 85 MUST requirements hold, 2 do not (1 cause), 1 did not run`."""
    text = f"{held} of {held + failed + not_run} {kind} hold{'s' if held == 1 else ''}"
    if failed:
        text += f", {failed} {'does' if failed == 1 else 'do'} not" + (f" ({causes})" if causes else "")
    return f"{text}, {not_run} did not run" if not_run else text


def in_order(ids: Iterable[str]) -> list[str]:
    """Sort known ids as the catalogue does and drop repetitions; unknown ones go last, by name."""
    return sorted(set(ids), key=lambda identity: (_RANK.get(identity, len(_RANK)), identity))

"""How many requirements are in a run's scope: the inner suites' numbers are compared with these."""

from lab.requirements import CATALOGUE, in_scope

ALL = len(in_scope())
MUST = sum(one.level == "MUST" for one in in_scope())
SHOULD = ALL - MUST


def musts(area: str) -> list[str]:
    """The ids of an area's MUST requirements."""
    return [one.id for one in CATALOGUE.values() if one.area == area and one.level == "MUST"]

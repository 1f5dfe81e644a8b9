"""How many requirements a run speaks about: what the inner suites' numbers are compared with."""

from lab.requirements import in_scope

ALL = len(in_scope())
MUST = sum(one.level == "MUST" for one in in_scope())
SHOULD = ALL - MUST

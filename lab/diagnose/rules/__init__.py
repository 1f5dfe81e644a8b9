"""
The rules: each looks at the scene and yields what is wrong, where, by what evidence, and the command that corrects it.

A module gives its rules as `RULES = (rule, ...)` and is found by itself; rules do not call each other.  A rule is given
what its parameters name: `scene`, and of `host`, `bridging`, `spoke` or `hub` each host in turn.  Those in `LAST` may
take `found`, what these found, and report what none of that explains.  Those in `POSSIBLE` come after all of them: they
report what no host shows, such as a rule of the cloud.  A rule reports only what it has seen; a loss that no rule
explains is reported by `explain.whereabouts` with its place.  Not here: sending, or reading from a host.
"""

"""
The rules: each looks at the scene and yields what is wrong, where, by what evidence, and the command that corrects it.

A rule is a public function that returns an `Iterator[Finding]`, in a module that is found by itself; rules do not call
each other.  It is given what its parameters name: `scene`, and of `host`, `bridging`, `spoke` or `hub` each host in
turn.  One that takes `found`, what the others found, runs after them and reports what none of that explains.  One that
takes `causes` runs after all of these: it reports what no host shows, such as a rule of the cloud.  A rule reports only
what it has seen; a loss that no rule explains is reported by `explain.whereabouts` with its place.  Not here: sending,
or reading from a host.
"""

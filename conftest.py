"""Names the plugins, nothing else."""

pytest_plugins = [
    "fixtures.options",
    "fixtures.requirements",
    "fixtures.live",
    "fixtures.machines",
    "fixtures.labs",
    "fixtures.probes",
    "fixtures.underlay",
    "fixtures.applications",
    "fixtures.evidence",
    "reports.plugin",
    "reports.evidence",
]

"""Names the plugins, nothing else."""

pytest_plugins = [
    "fixtures.interrupts",
    "fixtures.options",
    "fixtures.requirements",
    "fixtures.provision",
    "fixtures.live",
    "fixtures.machines",
    "fixtures.labs",
    "fixtures.leftovers",
    "fixtures.probes",
    "fixtures.underlay",
    "fixtures.resilience",
    "fixtures.applications",
    "fixtures.causes",
    "fixtures.comparisons",
    "fixtures.evidence",
    "fixtures.steps",
    "fixtures.diagnosis",
    "reports.plugin",
    "reports.evidence",
    "fixtures.misspelt",
]

"""
Runs of the suite in broken and in healthy labs: the causes that they report, and their bundles.

Not here: a diagnosis without a run (`selftests.faults.broken_labs`).
"""

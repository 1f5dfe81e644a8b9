"""
Labs that a command breaks: their findings, and the fixes tried one by one.

Not here: the faults of the catalogue (`selftests.faults.matrix`).
"""

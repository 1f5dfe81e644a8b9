"""
Results: what a run prints and writes.

Not here: what the tests of a run judge (`tests`).
"""

"""
Probes, captures, streams and loads: each counts what happened, and nothing else.

Not here: the causes of a loss (`selftests.faults`).
"""

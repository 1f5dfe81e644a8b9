"""
Runs of the suite in a lab, seen from outside: how they end, and what they leave.

Not here: runs in broken labs (`selftests.faults.runs`).
"""

"""
The library `lab`, over every kernel that it can use.

Not here: its diagnosis (`selftests.faults`) and live hosts (`selftests.live`).
"""

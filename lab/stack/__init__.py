"""
A host's network stack as data: what was read of it, changes of it, and what differs between two readings.

Not here: requests to a host (`lab.machines`), and what a reading means (`lab.overlay`, `lab.diagnose`).
"""

"""
Faults of the overlay: its tunnels, its hub, its sizes, and what it delivers.

Not here: faults of the hosts beside it (`lab.faults.host`).
"""

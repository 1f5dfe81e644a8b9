"""
Faults of what is between the hosts, and of what comes and goes.

Not here: what a host's own set-up breaks (`lab.faults.host`).
"""

"""
Real programs that use broadcast and multicast, run in the nodes of a lab: one file for each application.

Not here: starting and stopping any program (`lab.machines.program`), and the tests (`tests/applications`).
"""

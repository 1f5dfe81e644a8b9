"""
Changes of a network stack, and a process that undoes them however the agent ends.

Not here: readings (`lab.agent.stack`).
"""

"""
Kernels for labs: guests and the kernel of this machine, from start to end.

Not here: the agent that runs on them (`selftests.lab.agent`).
"""

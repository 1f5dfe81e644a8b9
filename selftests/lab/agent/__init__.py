"""
The agent on a machine: its verbs, messages, programs, and the undo of changes.

Not here: how a machine is started (`selftests.machines`).
"""

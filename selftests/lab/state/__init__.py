"""
The state of a host, read and compared: what a test left changed is reported.

Not here: processes and files that a run leaves (`selftests.lab.runs`).
"""

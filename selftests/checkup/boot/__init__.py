"""
What the files of a host make of a boot: states of files, each with the expected answer.

Not here: the other checks of hosts (`selftests.checkup`).
"""

"""
What a check of hosts finds in the state of one host: prerequisites, and what its files make of a boot.

Not here: hosts that are reached over SSH (`selftests.live.doctor`).
"""

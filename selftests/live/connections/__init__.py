"""
Connections to live hosts: the values of `--hosts`, logins, losses, locks and round trips.

Not here: what a run does once it is connected (`selftests.live`).
"""

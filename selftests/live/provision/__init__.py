"""
`--provision`: an overlay for the length of a run, on hosts that are as before afterwards.

Not here: overlays that the hosts have (`selftests.live.layouts`).
"""

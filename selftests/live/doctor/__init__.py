"""
`./overcast doctor --hosts=` and `bundle --hosts=`: what they report of live hosts, and the fixes.

Not here: what a boot would make of the hosts (`selftests.live.persistence`).
"""

"""
The diagnosis of broken overlays: every fault has its finding, and every fix corrects it.

Not here: faults of live hosts (`selftests.live`).
"""

"""
Overlays that daemons set up from files: what a boot, an upgrade or a reload makes of them.

Not here: the files as data (`selftests.checkup`).
"""

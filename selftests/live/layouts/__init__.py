"""
Overlays of live hosts in every layout: recognised, judged, or rejected.

Not here: overlays that a run sets up (`selftests.live.provision`).
"""

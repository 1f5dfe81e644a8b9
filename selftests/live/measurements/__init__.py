"""
Live hosts over time: `watch`, `--stream=` and `load`.

Not here: how figures are counted (`selftests.lab.probes`).
"""

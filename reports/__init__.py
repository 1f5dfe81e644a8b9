"""
What a run writes: the verdict, the page, the data and the summary.

Not here: judging a delivery, or reading a host (`lab`).
"""

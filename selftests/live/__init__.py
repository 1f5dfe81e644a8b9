"""
Live hosts, reached over SSH: the nodes of a lab, or guests with kernels of their own.

Not here: labs that are built for a run (`selftests.lab`).
"""

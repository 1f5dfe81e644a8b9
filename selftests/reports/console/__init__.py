"""
What a run prints: its progress, its causes and its answer.

Not here: files of results (`selftests.reports`).
"""

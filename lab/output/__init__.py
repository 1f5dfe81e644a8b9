"""
What a run prints, as data: the steps of a test, a finding's lines, and what is secret.

Not here: files and pages of results (`reports`).
"""

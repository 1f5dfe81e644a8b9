"""
What a run says to its reader, as data: the steps of a test, a finding's lines, and what is secret.

Not here: files and pages of results (`reports`).
"""

"""
A run as text: its progress, what was delivered, and its answer.

Not here: files of results (`reports.files`).
"""

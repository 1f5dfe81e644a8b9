"""
Files of results: where they go, who owns them, and what they must not contain.

Not here: what is written (`reports.verdict`, `reports.html`).
"""

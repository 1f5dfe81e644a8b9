"""
From what the tests did to the verdict and its data (conformance.json).

Not here: how it is shown (`reports.console`, `reports.html`).
"""

"""
What Allure gets of a run, and how its pages are made.

Not here: the page of Overcast itself (`reports.html`).
"""

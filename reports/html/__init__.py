"""
A run as a page that is read offline.

Not here: Allure's own pages (`reports.allure`).
"""

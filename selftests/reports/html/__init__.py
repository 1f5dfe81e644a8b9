"""
Pages that are read offline, and the pictures on them.

Not here: Allure's pages (`selftests.reports.test_rendering`).
"""

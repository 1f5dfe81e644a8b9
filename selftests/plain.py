"""How tests run pytest in a process of its own."""

import sys

OPTIONS = ("-p", "no:cacheprovider", "-p", "no:allure_pytest")
"""Without this checkout's cache, and without results for Allure: a fifth of the time, and nothing reads them."""
PYTEST = (sys.executable, "-m", "pytest", *OPTIONS)

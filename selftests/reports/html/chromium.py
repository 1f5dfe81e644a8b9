"""Headless Chromium, by which tests and pictures look at the page."""

from __future__ import annotations

import shutil
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run"),
)


def program() -> str | None:
    """The browser of this machine; None where there is none."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


def launched(playwright: Any) -> Any:
    """The browser, started."""
    return playwright.chromium.launch(executable_path=program(), args=list(FLAGS))

"""
The pictures of the README: the page of a run in which everything holds, and of one with a fault.

    sudo .venv/bin/python -m selftests.reports.screenshots      writes docs/images/report*.png
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from selftests.reports.html import chromium

ROOT = Path(__file__).resolve().parents[2]
RUNS = {"report.png": ["--inject=port-detached"], "report-conformant.png": []}
WIDTH, HEIGHT = 1280, 860


def main() -> int:
    """Run the suite once for each picture; return 0."""
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = chromium.launched(playwright)
        for name, options in RUNS.items():
            command = [sys.executable, "-m", "pytest", "-q", "--tunnel=vxlan", f"--reports={folder}", *options]
            subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.DEVNULL)
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            page.goto((Path(folder) / "index.html").as_uri())
            page.screenshot(path=ROOT / "docs" / "images" / name)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

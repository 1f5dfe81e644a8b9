"""
The page as a browser lays it out: nothing sticks out of its column or of the window.

    a run with many nodes and failures --> index.html --> headless Chromium, at several widths
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess

import pytest

pytest_plugins = ["pytester"]

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run", "--virtual-time-budget=1000", "--dump-dom"),
)
DEADLINE = 60  # seconds; one or two in practice

MANY_NODES = """
NODES = ["hub", *(f"spoke{number}" for number in range(1, 13))]

@pytest.mark.requirement("BCAST-01", "HUB-02")
@pytest.mark.parametrize("sender", NODES)
def test_delivers(sender, request):
    for receiver in NODES:
        for kind in ("unicast", "broadcast", "multicast"):
            for network in ("underlay", "overlay"):
                cell = {"network": network, "kind": kind, "sender": sender, "receiver": receiver,
                        "delivered": receiver != "spoke3", "expected": True}
                request.node.user_properties.append(("delivery", cell))
    request.node.user_properties.append(("finding", {
        "code": "port-not-bridged", "node": "hub", "interface": "gretap3", "summary": "not a port",
        "evidence": "x" * 300, "remedy": "ip link set gretap3 master bridge0 " * 9}))
    raise CheckFailed("spoke3 missed it " * 40)
"""

FRAME = """
<!doctype html><title>not measured</title><iframe style="width: %dpx; height: 1000px; border: 0" srcdoc="%s"></iframe>
<script>
onload = () => {
  const page = document.querySelector("iframe").contentDocument, out = [];
  for (const section of page.querySelectorAll("section")) {
    const column = section.getBoundingClientRect();
    for (const each of section.querySelectorAll("table, pre, dl, .squares, .path, .case")) {
      const box = each.getBoundingClientRect();
      if (box.right > column.right + 1 && !each.closest(".scroll")) out.push([each.tagName, each.className, box.right]);
    }
  }
  const root = page.documentElement, width = page.defaultView.innerWidth;
  if (root.scrollWidth > width) out.push(["window", root.scrollWidth]);
  document.title = JSON.stringify({out, width, sections: page.querySelectorAll("section").length});
}
</script>
"""


@pytest.mark.parametrize("width", [390, 820, 1100, 1440])
def test_nothing_overlaps(suite, width):
    """At the width of a phone, a tablet and a screen every table is inside its column, and that in the window."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium lays the page out\n  fix: sudo apt-get install chromium")
    suite.except_for(tests=MANY_NODES)
    page = (suite.run().reports / "index.html").read_text(encoding="utf-8")
    # in a frame, since a browser's own window is never as narrow as a phone
    frame = suite.file("frame.html", FRAME % (width, html.escape(page)))

    command = [browser, *FLAGS, f"--user-data-dir={suite.path / 'profile'}", frame.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=True).stdout

    title = re.search(r"<title>(.*?)</title>", shown)
    assert title, shown[:500]
    measured = json.loads(title[1].replace("&quot;", '"'))
    assert measured["width"] == width
    assert measured["sections"] > len(("areas", "matrices"))
    assert measured["out"] == []

"""
The page as a browser shows it: nothing overlaps or is cut off, a screen reader finds its way, links and buttons work.

    a run with many hosts and failures --> index.html --> headless Chromium, at several widths
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import pytest

from reports.html.page import figures
from selftests.reports.html import chromium

pytest_plugins = ["pytester"]

FIGURES = [("p50", 2, "ms"), ("p99", 8, "ms"), ("to the hub", 3, "hops")]
WIDTHS = (360, 820, 1100, 1440, 1920)
LARGEST = 3_000_000  # octets, with 400 failures
HOSTILE = "<img src=x onerror=alert(1)> </script><b>&amp;"

TOPOLOGY = """
import pytest
from lab.topology import topologies

def pytest_overcast_topology(config):
    return topologies.star({spokes})
"""

DELIVERIES = """
NODES = ["hub", *(f"spoke{{number}}" for number in range(1, {spokes} + 1))]
CAUSES = {causes!r}

def note(request, wrong):
    for sender in NODES:
        for receiver in NODES:
            for kind in ("unicast", "broadcast", "multicast"):
                for network in ("underlay", "overlay"):
                    if sender != receiver:
                        cell = {{"network": network, "kind": kind, "sender": sender, "receiver": receiver,
                                "delivered": network == "underlay" or not (wrong and "spoke2" in (sender, receiver)),
                                "expected": True}}
                        request.node.user_properties.append(("delivery", cell))

PATH = {{"sender": "spoke1", "receiver": "spoke2", "to": "172.16.254.255:7", "heard": 0, "expected": 1, "legs": [
    {{"node": "spoke1", "interface": "gretap1", "direction": "out", "carrier": "", "copies": 1, "after": None,
      "seen": True}},
    {{"node": "hub", "interface": "gretap2", "direction": "out", "carrier": "", "copies": 0, "after": None,
      "seen": False}}]}}

@pytest.mark.requirement("BCAST-01", "HUB-02")
@pytest.mark.parametrize("number", range({tests}))
def test_delivers(number, request):
    note(request, {failing})
    if {failing}:
        for code in CAUSES:
            request.node.user_properties.append(("finding", {{
                "code": code, "node": "hub", "interface": "gretap2", "host": "", "note": False,
                "summary": "hub gretap2 is not a port {hostile}", "evidence": "x" * 300 + " {hostile}",
                "remedy": "ip link set gretap2 master bridge0 " * 9}}))
        request.node.user_properties.append(("path", PATH))
        raise CheckFailed(f"spoke2 missed it {{number}} {hostile} " * 4)
"""

OVERLAPS = """
() => {
  const out = [], boxes = [];
  const root = document.documentElement;
  if (root.scrollWidth > innerWidth) out.push(["window", root.scrollWidth, innerWidth]);
  for (const section of document.querySelectorAll("section")) {
    const column = section.getBoundingClientRect();
    boxes.push([section.querySelector("h2")?.textContent, column]);
    for (const each of section.querySelectorAll("table, pre, dl, .squares, .path, .case, figure, code, td, th")) {
      if (each.closest(".scroll") || !each.checkVisibility()) continue;
      const box = each.getBoundingClientRect();
      if (box.right > column.right + 1) out.push([each.tagName, each.className, box.right, column.right]);
    }
  }
  for (const [one, a] of boxes) for (const [other, b] of boxes)
    if (one !== other && a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1)
      out.push(["overlap", one, other]);
  return out;
}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium."""
    if chromium.program() is None:
        pytest.skip("no Chromium lays the page out\n  fix: sudo apt-get install chromium")
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("no Playwright\n  fix: .venv/bin/pip install --require-hashes -r requirements-dev.lock")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = chromium.launched(playwright)
        yield browser
        browser.close()


CASES = {
    "healthy": {"spokes": 2, "tests": 1, "failing": False, "causes": []},
    "one-cause": {"spokes": 2, "tests": 3, "failing": True, "causes": ["port-not-bridged"]},
    "three-causes": {"spokes": 12, "tests": 3, "failing": True, "causes": ["port-not-bridged", "mtu", "ttl"]},
    "no-cause": {"spokes": 5, "tests": 3, "failing": True, "causes": []},
    "400-failures": {"spokes": 2, "tests": 400, "failing": True, "causes": ["port-not-bridged"]},
}


@pytest.fixture
def page(suite, browser, request) -> Iterator[Any]:
    """The page of a run, open in the browser; what its console said is in `page.complaints`."""
    case = CASES[request.param]
    without = ("BCAST-01", "HUB-02")
    suite.file("conftest.py", TOPOLOGY.format(**case))
    suite.except_for(*without, tests=DELIVERIES.format(**case, hostile=HOSTILE))
    path = suite.run().reports / "index.html"
    assert path.stat().st_size < LARGEST
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.complaints = []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("dialog", lambda dialog: (page.complaints.append(dialog.message), dialog.dismiss()))
    page.goto(path.as_uri())
    yield page
    page.close()


every_case = pytest.mark.parametrize("page", list(CASES), indirect=True)


@every_case
def test_nothing_overlaps_and_the_browser_has_no_complaint(page):
    """From the width of a phone to that of a large screen every part is inside its column; markup in texts is inert."""
    page.evaluate("document.querySelectorAll('details').forEach((each, number) => { each.open = number < 30; })")
    found = {}
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        found[width] = page.evaluate(OVERLAPS)

    assert page.locator("section").count() >= len(("areas", "matrices", "requirements", "environment"))
    assert page.locator("svg rect").count() > 1
    assert found == {width: [] for width in WIDTHS}
    assert page.complaints == []


@pytest.mark.parametrize(
    ("page", "scheme"),
    # three hundred failures more have no further colour
    [(case, scheme) for scheme in ("light", "dark") for case in CASES if (case, scheme) != ("400-failures", "dark")],
    indirect=["page"],
)
def test_a_screen_reader_finds_its_way(page, scheme):
    """The accessibility checks of axe-core report nothing, in light and in dark."""
    from axe_playwright_python.sync_playwright import Axe

    page.emulate_media(color_scheme=scheme)
    violations = Axe().run(page).response["violations"]

    assert [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in violations] == []


@pytest.mark.parametrize("page", ["one-cause"], indirect=True)
def test_the_first_screen_holds_the_answer(page):
    """Verdict, cause, fix and the drawing with the mark are seen without scrolling at 1440 x 900."""
    shown = ("h1", ".causes .ids", ".causes .fix code", ".drawing svg", "text.mark")
    bottoms = {what: page.locator(what).first.bounding_box() for what in shown}

    assert {what: box["y"] + box["height"] < 900 for what, box in bottoms.items()} == dict.fromkeys(shown, True)
    assert page.locator("line.failed").count() == 1
    assert page.locator("line.passed").count() == 1


@pytest.mark.parametrize("page", ["one-cause"], indirect=True)
def test_a_fix_is_copied(page):
    """The button beside a fix copies its command, whole."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator(".causes button").click()
    page.locator(".causes button", has_text="copied").wait_for()

    copied = page.evaluate("navigator.clipboard.readText()")

    assert copied == page.locator(".causes .fix code").inner_text()
    assert copied.startswith("ip link set gretap2 master bridge0")


@pytest.mark.parametrize("page", ["one-cause"], indirect=True)
def test_a_cell_of_the_matrix_leads_to_its_path(page):
    """A click on a lost delivery opens the failures of its cause, at the path of that pair."""
    page.locator("td.wrong a").first.click()

    path = page.locator("#path-spoke1-spoke2")
    path.wait_for(state="visible")
    assert "gretap2: never" in path.inner_text()
    assert page.url.endswith("#path-spoke1-spoke2")


def test_figures_of_one_unit_have_bars_of_one_scale():
    """A bar is as long as its figure is of the largest of its unit; a figure that is alone in its unit has none."""
    measured = [{"name": name, "value": value, "unit": unit} for name, value, unit in FIGURES]

    assert [one["most"] for one in figures(measured)] == [8, 8, None]

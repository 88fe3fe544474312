"""A hundred thousand variables: first paint and scrolling, measured and printed (pytest -s, or -rP)."""

from __future__ import annotations

import statistics
import time

import pytest

from tests.browser.conftest import Open, Shelf
from tests.browser.tab import Tab, expect

SCROLL = """async () => {
  const table = document.querySelector("[role=treegrid]");
  const frame = () => new Promise(requestAnimationFrame);
  const times = [];
  for (let i = 0; i < 25; i++) {
    const wanted = Math.floor(((i * 7919) % 100) / 100 * (table.scrollHeight - table.clientHeight));
    const start = performance.now();
    table.scrollTop = wanted;
    const middle = Math.floor((wanted + 100) / 28) + 2;
    while (!table.querySelector(`[aria-rowindex="${middle}"]`)) await frame();
    times.push(performance.now() - start);
  }
  return times;
}"""
TYPE = """async () => {
  const box = document.querySelector("input[type=search]");
  const frame = () => new Promise(requestAnimationFrame);
  const set = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set;
  const times = [];
  for (const text of ["s", "st", "stage_4", "stage_42", "*stage_42/*/kernel"]) {
    const start = performance.now();
    set.call(box, text);
    box.dispatchEvent(new Event("input", { bubbles: true }));
    await frame();
    await frame();
    times.push(performance.now() - start);
  }
  return times;
}"""


CALIBRATE = """() => {
  const names = Array.from({ length: 100000 }, (_, i) => `decoder/stage_${i % 100}/block_${i}/kernel`);
  const times = [];
  for (let i = 0; i < 7; i++) {
    const start = performance.now();
    names.filter((name) => name.toLowerCase().includes(`stage_${i}/`)).sort();
    times.push(performance.now() - start);
  }
  return times;
}"""
"""How fast this machine is now: a search through as many names, by itself."""


@pytest.mark.slow
def test_a_hundred_thousand_variables(open_tab: Open, shelf: Shelf) -> None:
    server = shelf.serve("huge")
    server.wait(lambda: server.read("runs")["runs"], 120)
    tab = open_tab(server, "run=huge/introspect").ready()
    start = time.perf_counter()
    tab.go("run=huge/introspect").ready()
    warm = time.perf_counter() - start
    parts = tab.frame.evaluate(
        """() => performance.getEntriesByType("resource").filter((entry) => entry.name.includes("/report?"))
          .map((entry) => [entry.startTime, entry.duration, entry.encodedBodySize])"""
    )
    expect(tab.find(".verdict h2")).to_contain_text("5\u202f000 of 100\u202f000 variables")
    flat = _time_flat(tab)
    drawn = tab.find(".rows [role=row]").count()
    jumps = tab.frame.evaluate(SCROLL)
    keys = tab.frame.evaluate(TYPE)
    few = tab.frame.evaluate(SCROLL)
    alone = statistics.median(tab.frame.evaluate(CALIBRATE))
    print(
        f"100 000 variables: page to verdict {warm:.2f} s (report at {parts[0][0]:.0f} ms, {parts[0][1]:.0f} ms, "
        f"{parts[0][2] / 1e6:.2f} MB), flat list {flat:.0f} ms, {drawn} rows drawn, "
        f"jump {statistics.median(jumps):.0f} ms median, {max(jumps):.0f} ms worst, "
        f"search {statistics.median(keys):.0f} ms median, {max(keys):.0f} ms worst; "
        f"beside it a jump among 500 rows {statistics.median(few):.0f} ms, a bare search {alone:.0f} ms"
    )
    expect(tab.find(".matched")).to_have_text("500 of 100\u202f000 variables")
    assert drawn < 80
    assert statistics.median(jumps) < 3 * statistics.median(few) + 50
    assert statistics.median(keys) < 25 * alone
    assert 1000 * warm < 400 * alone
    _check_end(tab)


def _time_flat(tab: Tab) -> float:
    start = time.perf_counter()
    tab.role("button", "By layer").click()
    expect(tab.find("[role=treegrid]")).to_have_attribute("aria-rowcount", "100001")
    return (time.perf_counter() - start) * 1000


def _check_end(tab: Tab) -> None:
    tab.find("input[type=search]").fill("")
    expect(tab.find("[role=treegrid]")).to_have_attribute("aria-rowcount", "100001")
    tab.find(".row").nth(3).click()
    tab.press("End")
    expect(tab.find("[role=row]:focus")).to_have_attribute("aria-rowindex", "100001")
    expect(tab.find("[role=row]:focus")).to_be_in_viewport()

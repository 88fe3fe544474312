"""What the values themselves say, beside the report; and plots of layers of any size."""

from __future__ import annotations

import itertools
import re

from tests.browser.conftest import Open, Shelf
from tests.browser.tab import expect


def test_values_that_agree_are_one_calm_line(open_vgg: Open) -> None:
    tab = open_vgg("run=vgg/introspect&at=300&sel=v:backbone/block1_conv1/kernel").ready()
    expect(tab.find("p.proof")).to_contain_text(
        "Seen in the values: 6 of 32 variables changed between steps 300 and 400, as the step says."
    )
    expect(tab.find("p.proof.contradicts")).to_have_count(0)
    expect(tab.role("columnheader", "Changed")).to_be_visible()
    expect(tab.find(".row.selected .cell-changed")).to_have_text(re.compile(r"^\s*no\s*$"))
    expect(tab.find(".detail")).to_contain_text("The same to the bit for 399 steps.")
    expect(tab.find(".chip-proof")).to_have_count(0)


def test_a_report_without_a_look_has_no_such_column(open_vgg: Open) -> None:
    tab = open_vgg("run=gan/introspect").ready()
    expect(tab.role("columnheader", "Updated")).to_be_visible()
    expect(tab.role("columnheader", "Changed")).to_have_count(0)
    expect(tab.role("columnheader", "Measured gradient and update norm")).to_have_count(0)
    expect(tab.find("p.proof")).to_have_count(0)


def test_values_that_contradict_the_graph_are_loud(open_tab: Open, shelf: Shelf) -> None:
    tab = open_tab(shelf.serve("proof"), "run=proof/introspect").ready()
    expect(tab.find(".verdict h2")).to_contain_text("1 variable changes though no op of the step writes it.")
    expect(tab.find(".head")).to_have_class(re.compile("severity-warning"))
    expect(tab.find("p.proof.contradicts")).to_contain_text("1 that the step writes did not")
    tab.role("button", "show them").click()
    expect(tab.find(".rows .row.variable")).to_have_count(2)
    tab.find(".row.variable", has_text="kernel").first.click()
    expect(tab.find(".detail .contradicts").first).to_be_visible()
    assert tab.frame.evaluate("document.querySelectorAll('.cell-changed.contradicts').length") == 4
    tab.page.wait_for_timeout(400)
    assert tab.hash()["show"] == "proof"
    tab.find(".row.variable").nth(1).click()
    expect(tab.find(".detail .plain")).to_contain_text("velocity")


def test_a_layer_of_many_variables_has_its_norms(open_tab: Open, shelf: Shelf) -> None:
    """Eighty-four variables together in one line, by one request."""
    tab = open_tab(shelf.serve("proof"), "run=proof/introspect&sel=l:tower").ready()
    expect(tab.find(".plot > svg path.line.gradient")).to_have_attribute("d", re.compile("^M"))
    expect(tab.find(".detail")).to_contain_text("80 variables together")
    expect(tab.find(".plot figcaption")).to_contain_text("gradient 4.47")
    assert sum("/layer_norms?" in url for url in tab.requests) == 1


def test_labels_of_the_timeline_never_touch(open_vgg: Open) -> None:
    for width in (400, 560, 800, 1024, 1440, 1900):
        tab = open_vgg(viewport={"width": width, "height": 900}).ready()
        expect(tab.find(".labels .label").first).to_be_visible()
        boxes = tab.frame.evaluate(
            """() => [...document.querySelectorAll('.labels .label')].map(label => {
              const parts = [...label.children].map(part => part.getBoundingClientRect());
              return [Math.min(...parts.map(p => p.left)), Math.max(...parts.map(p => p.right))];
            }).sort((a, b) => a[0] - b[0])"""
        )
        assert all(left[1] <= right[0] for left, right in itertools.pairwise(boxes)), (width, boxes)
        assert tab.find(".labels .current").count() == 1


def test_every_cell_stands_below_its_heading(open_tab: Open, shelf: Shelf) -> None:
    tab = open_tab(shelf.serve("proof"), "run=proof/introspect").ready()
    for width in (500, 900, 1440, 2200):
        tab.page.set_viewport_size({"width": width, "height": 900})
        tab.page.wait_for_timeout(200)
        lefts = tab.frame.evaluate(
            """() => ['.headings .row', '.rows .row'].map(row => [...document.querySelector(row).children]
              .filter(cell => cell.offsetWidth > 0).map(cell => Math.round(cell.getBoundingClientRect().left)))"""
        )
        assert lefts[0] == lefts[1], width

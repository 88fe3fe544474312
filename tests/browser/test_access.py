"""axe-core finds nothing, in each state of the page, light and dark; and what it cannot see."""

from __future__ import annotations

import pytest

from tests.browser.conftest import Open, Shelf
from tests.browser.tab import Tab, expect

RUN = """async () => (await axe.run(document, { resultTypes: ["violations"] })).violations
  .map((found) => found.id + ": " + found.help + "\\n" + found.nodes.map((node) => "  " + node.target + " " + node.failureSummary).join("\\n"))"""


def _check(tab: Tab, axe: str) -> None:
    tab.page.wait_for_timeout(400)
    tab.frame.evaluate(axe)
    assert tab.frame.evaluate(RUN) == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(
    "link",
    [
        "run=vgg/introspect&at=300",
        "run=vgg/introspect&at=300&sel=v:head/fc1/kernel&q=fc",
        "run=cut/introspect&sel=v:encoder/block_2/kernel&flat=1",
        "run=two_replicas/introspect&sel=f:0",
        "run=gan/introspect&sel=l:generator",
        "run=vgg/introspect&at=491&with=400",
        "run=vgg/introspect&q=nothing",
    ],
    ids=["overview", "variable", "cut", "finding", "layer", "compare", "nothing"],
)
def test_axe_finds_nothing(open_vgg: Open, axe: str, link: str, dark: bool) -> None:
    tab = open_vgg(link).go(link, dark=True) if dark else open_vgg(link)
    (tab.find(".summary") if "with=" in link else tab.find(".verdict h2")).wait_for()
    _check(tab, axe)


def test_axe_finds_nothing_in_help_menu_and_lists(open_vgg: Open, axe: str) -> None:
    tab = open_vgg("run=cut/introspect&sel=v:encoder/block_2/kernel").ready()
    tab.find("summary", has_text="as a list").click()
    tab.role("button", "Export").click()
    _check(tab, axe)
    tab.role("button", "Help").click()
    _check(tab, axe)


def test_axe_finds_nothing_in_the_hostile_run(open_tab: Open, shelf: Shelf, axe: str) -> None:
    _check(open_tab(shelf.serve("hostile")).ready(), axe)


def test_the_frame_the_language_and_the_table_have_names(open_vgg: Open) -> None:
    tab = open_vgg().ready()
    assert tab.page.locator("iframe[src*='name=introspect']").get_attribute("title") == "Introspect dashboard"
    assert tab.frame.evaluate("document.documentElement.lang") == "en"
    expect(tab.role("treegrid", "Layers and variables")).to_be_visible()
    expect(tab.role("slider", "Report")).to_be_visible()
    expect(tab.role("complementary", "Details")).to_be_visible()


def test_status_is_a_word_in_forced_colours_too(open_vgg: Open) -> None:
    tab = open_vgg("run=vgg/introspect&at=300", forced_colors="active", reduced_motion="reduce").ready()
    words = tab.find(".row.variable .cell-status").all_inner_texts()
    assert {word.strip() for word in words} <= {"does not train", "trains"}
    assert tab.find(".row.variable .twist .icon").count() == 0

"""The table by keyboard alone, as the tree grid pattern has it."""

from __future__ import annotations

from tests.browser.conftest import Open
from tests.browser.tab import Tab, expect


def _enter_table(tab: Tab) -> Tab:
    """Come to the table by Tab keys from the search box, as a person would."""
    tab.ready()
    tab.find(".verdict").click()
    tab.press("/")
    for _ in range(30):
        if tab.focused_row() != "BODY" and tab.frame.evaluate("document.activeElement.getAttribute('role') === 'row'"):
            return tab
        tab.press("Tab")
    raise AssertionError("the table has no tab stop")


def test_rows_are_walked_opened_and_left(open_vgg: Open) -> None:
    tab = _enter_table(open_vgg())
    assert tab.focused_row() == "1 backbone"
    tab.press("ArrowRight")
    assert tab.focused_row() == "2 block1_conv1"
    tab.press("ArrowRight", "ArrowDown")
    assert tab.focused_row() == "3 bias"
    tab.press("ArrowLeft")
    assert tab.focused_row() == "2 block1_conv1"
    tab.press("ArrowLeft", "ArrowDown")
    assert tab.focused_row() == "2 block1_conv2"
    tab.press("ArrowUp", "ArrowRight", "ArrowDown")
    assert tab.focused_row() == "3 kernel"
    tab.press("Home")
    assert tab.focused_row() == "1 backbone"
    tab.press("ArrowLeft")
    expect(tab.find("[role=row]:focus")).to_have_attribute("aria-expanded", "false")
    tab.press("ArrowDown")
    assert tab.focused_row() == "1 head"


def test_the_ends_the_pages_and_the_letters(open_vgg: Open) -> None:
    tab = _enter_table(open_vgg())
    tab.press("End")
    assert tab.focused_row() == "3 bias"
    row = tab.find("[role=row]:focus")
    total = int(tab.find("[role=treegrid]").get_attribute("aria-rowcount") or 0)
    expect(row).to_have_attribute("aria-rowindex", str(total))
    expect(row).to_be_in_viewport()
    tab.press("PageUp")
    index = int(tab.find("[role=row]:focus").get_attribute("aria-rowindex") or 0)
    assert total - 40 < index < total - 5
    tab.press("Home")
    tab.page.keyboard.type("pre")
    assert tab.focused_row() == "2 predictions"


def test_enter_shows_details_and_escape_leaves_them(open_vgg: Open) -> None:
    tab = _enter_table(open_vgg())
    tab.press("ArrowRight", "ArrowRight", "Enter")
    expect(tab.find(".detail h2")).to_have_text("backbone/block1_conv1/kernel")
    expect(tab.find("[role=row]:focus")).to_have_attribute("aria-selected", "true")
    assert tab.focused_row() == "3 kernel"
    tab.press("Escape")
    expect(tab.find(".detail h2")).to_have_count(0)
    assert tab.focused_row() == "3 kernel"


def test_there_is_one_tab_stop_and_it_stays_in_the_document(open_vgg: Open) -> None:
    tab = _enter_table(open_vgg())
    tab.press("ArrowDown")
    assert tab.find("[role=treegrid] [role=row][tabindex='0']").count() == 1
    tab.find("[role=treegrid]").evaluate("table => { table.scrollTop = 1e6 }")
    tab.page.wait_for_timeout(200)
    assert tab.focused_row() == "2 block1_conv1"
    tab.press("ArrowDown")
    expect(tab.find("[role=row]:focus")).to_be_in_viewport()


def test_the_focus_outlives_a_fold_by_mouse_and_a_new_sort(open_vgg: Open) -> None:
    tab = _enter_table(open_vgg())
    tab.press("ArrowDown")
    folded = tab.find(".row", has_text="block1_conv2")
    folded.locator(".twist").click()
    expect(folded).to_have_attribute("aria-expanded", "false")
    assert tab.find("[role=treegrid] [role=row][tabindex='0']").count() == 1

"""What a person does on the page: reads the verdict, steps through the timeline, searches, compares, links."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from tests.browser.conftest import Open, Shelf
from tests.browser.tab import expect

STALE = "run=vgg/introspect&at=300"


def test_the_verdict_is_a_sentence_with_counts_and_a_fix(open_vgg: Open) -> None:
    tab = open_vgg(STALE).ready()
    expect(tab.find(".verdict h2")).to_contain_text(
        "26 of 32 variables that you set trainable do not train: the step was compiled before."
    )
    expect(tab.find(".figures")).to_contain_text("6 updated by gradient")
    expect(tab.find(".fix")).to_contain_text("introspect.recompile(model, keep_optimizer_state=True)")
    expect(tab.find(".fix")).to_contain_text("tried on a copy")


def test_a_healthy_run_is_calm(open_vgg: Open) -> None:
    tab = open_vgg("run=gan/introspect").ready()
    expect(tab.find(".verdict h2")).to_contain_text(
        "What trains is what you meant: 32 of 48 variables train, 16 do not."
    )
    assert tab.find(".fix").count() == 0
    expect(tab.find(".detail")).to_contain_text("None: the step does what the flags say.")


def test_a_gradient_of_the_first_update_is_told_as_that(open_tab: Open, shelf: Shelf) -> None:
    tab = open_tab(shelf.serve("wgan"), "run=wgan/introspect&sel=v:critic/kernel").ready()
    expect(tab.find(".detail")).to_contain_text("1.25, first of 5 updates")
    expect(tab.find(".row.selected .cell-measured [title]")).to_have_attribute("title", "gradient: first of 5 updates")
    tab.find(".row.variable", has_text="kernel").last.click()
    expect(tab.find(".detail")).to_contain_text("gradient norm")
    expect(tab.find(".detail")).not_to_contain_text("first of")


def test_the_fix_is_copied(open_vgg: Open) -> None:
    tab = open_vgg(STALE, permissions=["clipboard-read", "clipboard-write"]).ready()
    tab.role("button", "Copy fix").click()
    expect(tab.role("button", "Copied")).to_be_visible()
    assert "introspect.recompile(model" in tab.page.evaluate("navigator.clipboard.readText()")


def test_where_the_browser_refuses_to_copy_the_text_is_offered_by_hand(open_vgg: Open) -> None:
    tab = open_vgg(STALE).ready()
    tab.frame.evaluate(
        "navigator.clipboard.writeText = () => Promise.reject(new Error('no')); document.execCommand = () => false"
    )
    tab.role("button", "Copy fix").click()
    box = tab.find(".by-hand textarea")
    expect(box).to_be_focused()
    selected = box.evaluate("box => box.value.slice(box.selectionStart, box.selectionEnd)")
    assert "introspect.recompile(model" in selected
    tab.press("Escape")
    expect(box).to_have_count(0)


def test_the_timeline_goes_by_slider_buttons_and_keys(open_vgg: Open) -> None:
    tab = open_vgg().ready()
    slider = tab.role("slider", "Report")
    expect(slider).to_have_attribute("aria-valuetext", "step 310, epoch 9: train end, ok; 5 of 5")
    assert slider.get_attribute("max") == "4"
    expect(tab.role("button", "Follow")).to_have_attribute("aria-pressed", "true")
    tab.role("button", "Previous report ([)").click()
    expect(slider).to_have_attribute("aria-valuetext", "step 0, epoch 6: recompiled, ok; 4 of 5")
    expect(tab.role("button", "Follow")).to_have_attribute("aria-pressed", "false")
    tab.press("[")
    expect(slider).to_have_attribute("aria-valuetext", "step 400, epoch 5: epoch, 1 error; 3 of 5")
    expect(tab.find(".verdict h2")).to_contain_text("26 of 32 variables")
    slider.focus()
    tab.press("ArrowLeft")
    expect(slider).to_have_attribute("aria-valuetext", "step 300, epoch 4: flag changed, 1 error; 2 of 5")
    tab.press("]", "]")
    expect(slider).to_have_attribute("aria-valuetext", "step 0, epoch 6: recompiled, ok; 4 of 5")
    expect(tab.find(".verdict h2")).to_contain_text("What trains is what you meant")
    tab.role("button", "Follow").click()
    expect(slider).to_have_attribute("aria-valuetext", "step 310, epoch 9: train end, ok; 5 of 5")


def test_the_selection_outlives_a_reload(open_vgg: Open) -> None:
    tab = open_vgg("run=vgg/introspect&at=400&sel=v:backbone/block2_conv1/kernel&q=block2").ready()
    expect(tab.find(".detail h2")).to_have_text("backbone/block2_conv1/kernel")
    tab.page.reload()
    tab.ready()
    expect(tab.find(".detail h2")).to_have_text("backbone/block2_conv1/kernel")
    expect(tab.find("input[type=search]")).to_have_value("block2")
    expect(tab.role("slider", "Report")).to_have_attribute(
        "aria-valuetext", "step 400, epoch 5: epoch, 1 error; 3 of 5"
    )


def test_what_is_done_stands_in_the_address(open_vgg: Open) -> None:
    tab = open_vgg().ready()
    tab.find(".row", has_text="block1_conv2").first.click()
    tab.press("/")
    expect(tab.find("input[type=search]")).to_be_focused()
    tab.page.keyboard.type("head/*")
    tab.page.wait_for_function("location.hash.includes('p.introspect.q=')")
    assert tab.hash() == {"run": "vgg/introspect", "sel": "l:backbone/block1_conv2", "q": "head/*"}
    tab.page.evaluate("location.hash = '#introspect&p.introspect.run=cut%2Fintrospect'")
    expect(tab.find(".verdict h2")).to_contain_text("13 of 28")


def test_search_and_filters_narrow_the_table(open_vgg: Open) -> None:
    tab = open_vgg(STALE).ready()
    search = tab.find("input[type=search]")
    search.fill("block1 bias")
    expect(tab.find(".matched")).to_have_text("2 of 32 variables")
    assert tab.rows() == ["backbone", "block1_conv1", "bias", "block1_conv2", "bias"]
    search.fill("*fc?/kernel")
    expect(tab.find(".matched")).to_have_text("2 of 32 variables")
    assert tab.rows() == ["head", "fc1", "kernel", "fc2", "kernel"]
    search.fill("fc*")
    expect(tab.find(".nothing")).to_contain_text("A glob matches whole paths: try *fc*")
    tab.role("button", "*fc*").click()
    expect(tab.find(".matched")).to_have_text("4 of 32 variables")
    search.fill("")
    tab.find(".chip-mismatch").click()
    expect(tab.find(".matched")).to_have_text("26 of 32 variables")
    assert "head" not in tab.rows()
    tab.find(".chip-all").click()
    tab.role("button", "INT103 trainable-variable-not-updated").click()
    tab.role("button", "show these alone in the table").click()
    expect(tab.find(".matched")).to_have_text("26 of 32 variables")
    tab.find(".chip.active").click()
    expect(tab.find(".matched")).to_have_text("")


def test_sorting_and_the_flat_list(open_vgg: Open) -> None:
    tab = open_vgg(STALE).ready()
    status = tab.find("[role=columnheader].cell-status")
    expect(status).to_have_attribute("aria-sort", "descending")
    assert tab.rows()[0] == "backbone"
    status.get_by_role("button").click()
    expect(status).to_have_attribute("aria-sort", "ascending")
    assert tab.rows()[0] == "head"
    tab.role("button", "By layer").click()
    expect(tab.role("button", "By layer")).to_have_attribute("aria-pressed", "false")
    assert tab.rows()[0] == "head/fc1/kernel"
    name = tab.find("[role=columnheader].cell-name")
    name.get_by_role("button").click()
    expect(name).to_have_attribute("aria-sort", "ascending")


def test_a_variable_in_full(open_vgg: Open) -> None:
    tab = open_vgg("run=vgg/introspect&sel=v:head/fc1/kernel").ready()
    detail = tab.find(".detail")
    expect(detail).to_contain_text("25088 × 4096")
    expect(detail).to_contain_text("momentum")
    expect(detail).to_contain_text("AssignSubVariableOp")
    path = detail.locator(".plot > svg .line.gradient")
    assert (path.get_attribute("d") or "").count("L") > 50
    expect(detail.locator(".drawing .node.goal")).to_contain_text("fc1")


def test_the_gradient_path_shows_its_cut_as_drawing_and_as_list(open_vgg: Open) -> None:
    tab = open_vgg("run=cut/introspect&sel=v:encoder/block_2/kernel").ready()
    drawing = tab.find(".drawing")
    expect(drawing.locator(".kind-cut")).to_contain_text("cut: ArgMax")
    expect(drawing.locator(".edge.cut text")).to_have_text("cut")
    before = drawing.locator(".node").count()
    folded = drawing.locator("[role=button]").first
    folded.focus()
    tab.press("Enter")
    expect(drawing.locator(".node")).not_to_have_count(before)
    tab.find("summary", has_text="as a list").click()
    steps = tab.find(".path-list > li")
    expect(steps.first).to_contain_text("mean_squared_error")
    expect(steps.last).to_contain_text("block_2")
    expect(tab.find(".path-list .cut-word")).to_have_text("cut: no gradient passes here")
    expect(tab.find(".path-list")).to_contain_text("model.py:57")


def test_two_reports_and_two_runs_are_compared(open_vgg: Open) -> None:
    tab = open_vgg("run=vgg/introspect&at=491").ready()
    tab.role("button", "Compare").click()
    expect(tab.find(".summary")).to_contain_text("26 variables now train, 1 finding gone")
    expect(tab.find(".changes [role=row]").nth(1)).to_contain_text("backbone/block1_conv1/kernel")
    tab.find(".compare .chip", has_text="updated: no → yes").click()
    expect(tab.find(".changes")).to_have_attribute("aria-rowcount", "27")
    tab.find(".compare select").first.select_option("gan/introspect")
    expect(tab.find(".summary")).to_contain_text("32 variables added, 48 variables removed")
    tab.role("button", "Compare").click()
    tab.ready()


def test_a_report_is_exported(open_vgg: Open, tmp_path: Path) -> None:
    tab = open_vgg(STALE).ready()
    for label, name in (("Report as JSON", "report.json"), ("Variables as CSV", "variables.csv")):
        tab.role("button", "Export").click()
        with tab.page.expect_download() as download:
            tab.role("link", label).click()
        download.value.save_as(tmp_path / name)
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["schema"], len(report["variables"])) == (1, 32)
    assert len(list(csv.reader((tmp_path / "variables.csv").open()))) == 33


def test_dark_mode_follows_tensorboard_as_it_is_switched(open_vgg: Open) -> None:
    tab = open_vgg(STALE).ready()
    ground = "getComputedStyle(document.body).backgroundColor"
    assert tab.frame.evaluate(ground) == "rgb(255, 255, 255)"
    tab.page.get_by_label("Menu for changing light or dark theme").click()
    tab.page.get_by_role("menuitem").filter(has_text="Dark").click()
    tab.frame.wait_for_function(f"{ground} === 'rgb(48, 48, 48)'")
    tab.go(STALE, dark=True).ready()
    assert tab.frame.evaluate(ground) == "rgb(48, 48, 48)"


def test_the_help_opens_and_closes_by_keys(open_vgg: Open) -> None:
    tab = open_vgg().ready()
    tab.find(".verdict").click()
    tab.press("?")
    expect(tab.role("dialog", "Introspect")).to_be_visible()
    tab.press("Escape")
    expect(tab.find("dialog")).not_to_be_visible()

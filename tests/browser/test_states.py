"""What the page shows where something is missing, hostile, narrow or gone, and that it looks for news only while it is seen."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from introspect.report.writer import ReportWriter
from tests.browser.conftest import Open, Shelf
from tests.browser.tab import expect
from tests.tb.processes import run_tensorboard
from tests.tb.synthetic import Shot, make_vgg_series


def _folders(root: Path) -> tuple[Path, Path]:
    logs, work = root / "logs", root / "work"
    logs.mkdir()
    work.mkdir()
    return logs, work


def _shots(reason: str | None = None) -> Iterator[Shot]:
    for event in make_vgg_series().events:
        if isinstance(event, Shot) and reason in (None, event.report.reason):
            yield event


def test_a_report_appears_while_training_goes_on(open_tab: Open, tmp_path: Path) -> None:
    logs, work = _folders(tmp_path)
    shots = list(_shots())
    with run_tensorboard(logs, work) as server, ReportWriter(logs) as writer:
        tab = open_tab(server)
        expect(tab.find(".empty h2")).to_have_text("No report yet")
        expect(tab.find(".empty")).to_contain_text(f'IntrospectCallback(log_dir="{logs}")')
        expect(tab.find(".watched")).to_contain_text(str(logs))

        writer.append(shots[0].report, epoch=0)
        expect(tab.find(".verdict h2")).to_contain_text("6 of 32 variables train, 26 do not.")
        tab.find(".row", has_text="block1_conv2").first.click()
        writer.append(shots[1].report, epoch=3)
        expect(tab.find(".verdict h2")).to_contain_text("26 of 32 variables")
        expect(tab.find("[aria-live=polite]")).to_contain_text("New report. step 300, epoch 4: flag changed, 1 error")
        expect(tab.find(".detail h2")).to_have_text("backbone/block1_conv2")

        tab.press("[")
        writer.append(shots[3].report, epoch=5)
        expect(tab.role("slider", "Report")).to_have_attribute("max", "2")
        expect(tab.find(".verdict h2")).to_contain_text("6 of 32 variables train")
        tab.finish()


def test_nothing_is_asked_while_the_tab_is_hidden(open_tab: Open, shelf: Shelf) -> None:
    tab = open_tab(shelf.serve("vgg", "gan", "two_replicas", "cut")).ready()

    def count() -> int:
        return sum(url.endswith("/runs") for url in tab.requests)

    hide = "frame => { frame.style.maxHeight = 0; frame.style.visibility = 'hidden' }"
    before = count()
    tab.page.wait_for_timeout(3500)
    assert count() > before
    tab.page.locator("iframe[src*='name=introspect']").evaluate(hide)
    tab.page.wait_for_timeout(500)
    hidden = count()
    tab.page.wait_for_timeout(4000)
    assert count() == hidden
    tab.page.locator("iframe[src*='name=introspect']").evaluate(
        "frame => { frame.style.maxHeight = ''; frame.style.visibility = '' }"
    )
    tab.page.wait_for_timeout(1000)
    assert count() > hidden


def test_a_server_that_ends_is_told_of_and_what_is_known_stays(open_tab: Open, tmp_path: Path) -> None:
    logs, work = _folders(tmp_path)
    with ReportWriter(logs) as writer:
        writer.append(next(_shots("flag changed")).report, epoch=3)
    with run_tensorboard(logs, work) as server:
        tab = open_tab(server).ready()
        tab.allowed = ("ERR_CONNECTION_REFUSED", "ERR_EMPTY_RESPONSE", "ERR_CONNECTION_RESET")
        server.process.terminate()
        server.process.wait()
        expect(tab.find(".offline")).to_contain_text("TensorBoard does not answer")
        expect(tab.find(".verdict h2")).to_contain_text("26 of 32 variables")
        tab.finish()


def test_a_report_that_cannot_be_read_is_an_error_with_its_reason(open_tab: Open, shelf: Shelf) -> None:
    tab = open_tab(shelf.serve("vgg", "gan", "two_replicas", "cut"), "run=gan/introspect").ready()
    tab.allowed = ("status of 422",)
    tab.page.route(
        "**/report?*", lambda route: route.fulfill(status=422, body="the report is damaged", content_type="text/plain")
    )
    tab.press("[")
    tab.role("button", "Previous report ([)").click()
    expect(tab.find(".failure")).to_contain_text("the report is damaged")
    tab.page.unroute("**/report?*")
    tab.role("button", "Try again").click()
    tab.ready()


def test_a_run_that_is_removed_gives_way(open_tab: Open, tmp_path: Path) -> None:
    logs, work = _folders(tmp_path)
    shots = list(_shots())
    for name, shot in (("one", shots[1]), ("two", shots[3])):
        with ReportWriter(logs / name) as writer:
            writer.append(shot.report, epoch=0)
    with run_tensorboard(logs, work) as server:
        tab = open_tab(server, "run=one/introspect").ready()
        expect(tab.find(".verdict h2")).to_contain_text("26 of 32")
        shutil.rmtree(logs / "one")
        expect(tab.find(".verdict h2")).to_contain_text("What trains is what you meant")
        tab.finish()


def test_names_that_want_to_be_code_stay_text(open_tab: Open, shelf: Shelf) -> None:
    tab = open_tab(shelf.serve("hostile")).ready()
    expect(tab.find(".verdict h2")).to_contain_text("<img src=x onerror=alert(1)>")
    for index in range(5):
        tab.find(".row.variable").nth(index).click()
        expect(tab.find(".detail .writes")).to_be_visible()
    tab.role("button", "INT103 trainable-variable-not-updated").click()
    expect(tab.find(".evidence > li")).to_have_count(14)
    tab.role("button", "Compare").click()
    tab.find(".compare").wait_for()
    assert tab.find("img").count() == 0
    assert tab.find("script:not([src])").count() <= 1
    assert tab.find("a[href^='javascript']").count() == 0


def test_a_narrow_page_keeps_everything_within_reach(open_vgg: Open) -> None:
    tab = open_vgg("run=vgg/introspect&at=300", viewport={"width": 390, "height": 844}).ready()
    assert tab.frame.evaluate("document.documentElement.scrollWidth <= innerWidth")
    row = tab.find(".row.variable").first
    row.scroll_into_view_if_needed()
    row.click()
    detail = tab.find(".detail h2")
    detail.scroll_into_view_if_needed()
    expect(detail).to_be_in_viewport()
    expect(tab.find(".row.variable .cell-status").first).to_be_visible()
    expect(tab.find(".row.variable .cell-slots").first).to_be_hidden()


def test_the_page_stands_by_itself(open_tab: Open, shelf: Shelf) -> None:
    server = shelf.serve("vgg", "gan", "two_replicas", "cut")
    tab = open_tab(server)
    tab.allowed = ("404",)
    tab.page.goto(f"{server.url}data/plugin_entry.html?name=introspect&darkMode=true#p.introspect.run=cut%2Fintrospect")
    tab.page.locator(".verdict h2").wait_for()
    assert tab.page.locator(".verdict h2").inner_text().endswith("do not train: no gradient reaches them.")
    assert tab.page.evaluate("document.documentElement.dataset.theme") == "dark"
    tab.go()


def test_a_path_prefix_and_the_slow_reader_change_nothing(open_tab: Open, tmp_path: Path) -> None:
    logs, work = _folders(tmp_path)
    with ReportWriter(logs) as writer:
        writer.append(next(_shots("flag changed")).report, epoch=3)
    with run_tensorboard(logs, work, "--path_prefix=/pre/fix", "--load_fast=false") as server:
        tab = open_tab(server)
        tab.allowed = ("404",)  # TensorBoard does not find its own fonts under a prefix
        expect(tab.find(".verdict h2")).to_contain_text("26 of 32 variables")
        assert all("/pre/fix/" in url for url in tab.requests if "plugin/introspect" in url)
        tab.find(".row.variable").first.click()
        expect(tab.find(".drawing .goal")).to_be_visible()
        tab.finish()


def test_what_failed_is_asked_for_again_when_the_server_is_back(open_tab: Open, shelf: Shelf) -> None:
    tab = open_tab(shelf.serve("vgg", "gan", "two_replicas", "cut"), "run=cut/introspect").ready()
    tab.allowed = ("ERR_CONNECTION_REFUSED",)
    tab.page.route("**/plugin/introspect/*", lambda route: route.abort("connectionrefused"))
    tab.find("select").first.select_option("gan/introspect")
    expect(tab.find(".failure")).to_contain_text("TensorBoard does not answer")
    expect(tab.find(".offline")).to_be_visible()
    tab.page.unroute("**/plugin/introspect/*")
    tab.find(".failure button").first.click()
    expect(tab.find(".verdict h2")).to_contain_text("32 of 48 variables")
    expect(tab.find(".offline")).to_have_count(0)

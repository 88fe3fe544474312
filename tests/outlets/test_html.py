"""The page and the notebook form: whole by themselves, inert, well-formed."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser

import pytest

from introspect.outlets import Options, render_notebook
from introspect.outlets.html import POLICY, read_style, render_html
from introspect.outlets.markup import Markup, join, mark_code, tag
from introspect.outlets.notebook import PAGE_RULES
from introspect.records import Measured
from tests.outlets.reports import (
    GPU,
    REPORTS,
    make_healthy,
    make_large,
    make_report,
    make_stale,
    make_variable,
    make_write,
)

VOID = {"meta", "br"}
HARMLESS = {
    "html", "head", "meta", "title", "style", "body", "main", "article", "section", "header", "h1", "h2", "h3", "p",
    "div", "span", "small", "dl", "dt", "dd", "ul", "li", "code", "pre", "b", "a", "details", "summary",
    "table", "thead", "tbody", "tr", "th", "td",
}  # fmt: skip


class Reader(HTMLParser):
    """Checks nesting while it reads, and keeps what matters."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.text: list[str] = []
        self.headings: list[str] = []

    def handle_starttag(self, name, attributes):
        self.tags.add(name)
        self.attributes += [(name, key, value) for key, value in attributes]
        if re.fullmatch(r"h\d", name):
            self.headings.append(name)
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def render(*reports) -> str:
    return render_html(reports, Options())


@pytest.mark.parametrize("name", REPORTS)
def test_page_needs_nothing_else(name):
    page = render(REPORTS[name]())
    reader = read(page)
    assert reader.tags <= HARMLESS
    assert {key for _, key, _ in reader.attributes if key.startswith("on")} == set()
    links = {value for _, key, value in reader.attributes if key in ("src", "href", "action")}
    assert all(link.startswith("#introspect-") for link in links)
    assert "url(" not in read_style()
    assert "@import" not in read_style()
    assert ("meta", "content", POLICY) in reader.attributes


@pytest.mark.parametrize("name", REPORTS)
def test_ids_are_unique_and_links_lead_somewhere(name):
    reader = read(render(REPORTS[name](), make_stale()))
    ids = [value for _, key, value in reader.attributes if key == "id"]
    links = {value.removeprefix("#") for _, key, value in reader.attributes if key == "href"}
    if name != "stale":
        assert len(set(ids)) == len(ids)
    assert links <= set(ids)


def test_same_rule_twice_gets_two_ids():
    stale = make_stale()
    page = render(dataclasses.replace(stale, findings=(stale.findings[0], stale.findings[0])))
    ids = [value for _, key, value in read(page).attributes if key == "id"]
    assert len(ids) == len(set(ids)) == 2


def test_verdict_stands_at_the_top():
    text = [piece.strip() for piece in read(render(make_stale())).text if piece.strip()]
    assert text[:4] == [
        "vgg_finetune – introspect",
        "✗",
        "error",
        "26 of 32 variables that you set trainable do not train.",
    ]


def test_headings_go_down_in_order():
    assert read(render(make_stale())).headings == ["h1", "h2", "h3", "h3", "h2", "h2"]


def test_status_has_a_word_beside_the_icon():
    page = render(make_stale())
    icons = page.count('class="icon" aria-hidden="true"')
    assert icons == page.count('class="word"') > 30


def test_hostile_text_is_shown_not_done():
    page = render(REPORTS["hostile"]())
    assert "<script" not in page
    assert "<img" not in page
    text = "".join(read(page).text)
    assert "</style><script>alert(1)</script><img src=x onerror=alert(2)>\"'&" in text
    assert "\\x1b[31mred" in text
    assert "ab\\u202edc" in text


def test_what_differs_stands_open_and_the_rest_is_closed():
    page = render(make_stale())
    assert re.search(r'<details open><summary><span class="status error">.{0,250}vgg16', page)
    page = render(make_healthy())
    assert re.search(r'<details><summary><span class="status agrees">.{0,250}vgg16', page)


def test_columns_without_content_are_left_out():
    page = render(make_healthy())
    assert "Placed" not in page
    assert "Gradient norm" not in page
    measured = make_variable("a/kernel", measured=Measured(1.25, 0.5, 3.0, 0.0, True, True, None))
    placed = make_variable("b/kernel", writes=(make_write(placed=GPU.replace("GPU:0", "GPU:1")),))
    page = render(make_report([measured, placed], []))
    assert "Gradient norm" in page
    assert "1.25" in page
    assert "GPU:1" in page


def test_code_of_a_fix_can_be_copied_whole():
    page = render(make_stale())
    line = "model.compile(optimizer=keras.optimizers.Adam(1e-5), loss=model.loss, metrics=[&#x27;accuracy&#x27;])"
    assert f"<pre><code>{line}</code></pre>" in page
    assert "<code>introspect.recompile(model, keep_optimizer_state=True)</code>" in page


def test_several_reports_make_one_page():
    page = render(make_stale(), make_healthy())
    assert page.count("<html") == 1
    assert page.count("<h1>") == 2


def test_notebook_form_leaks_no_style():
    form = render_notebook(make_stale())
    assert read(form).tags <= HARMLESS - {"html", "head", "body", "main", "meta", "title"}
    style = re.search(r"<style>(.*?)</style>", form, re.DOTALL)
    assert style is not None
    assert PAGE_RULES not in style[1]
    for selectors in re.findall(r"([^{}]+)\{[^}]*\}", style[1]):
        for selector in re.split(r",(?![^(]*\))", selectors):
            assert re.match(r"(:is\([^)]*\]?[^)]*\) )?\.introspect\b", selector.strip()), selector


def test_notebook_form_of_a_large_model_is_short():
    report = make_large(blocks=100)
    assert len(report.variables) == 3000
    form = render_notebook(report)
    assert len(form) < 100_000
    text = "".join(read(form).text)
    assert "✗ block_10 … block_99" in text
    assert "and 2200 more" in text
    assert "encoder/block_99/dense_9/scale" in "".join(read(render(report)).text)


def test_page_has_a_dark_form():
    assert "prefers-color-scheme: dark" in read_style().partition(PAGE_RULES)[2]
    assert "prefers-color-scheme" not in read_style().partition(PAGE_RULES)[0]


def test_building_escapes_whatever_is_not_markup():
    assert tag("p", "<b>", Markup("<i>")) == "<p>&lt;b&gt;<i></p>"
    assert tag("a", "x", href='"><script>', class_="y", hidden=True, title=None) == (
        '<a href="&quot;&gt;&lt;script&gt;" class="y" hidden>x</a>'
    )
    assert tag("meta", http_equiv="a") == '<meta http-equiv="a">'
    assert join("a\x00", None, "", "b") == "a\\x00b"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("call `f(<x>)` now", "call <code>f(&lt;x&gt;)</code> now"),
        ("an odd ` stays", "an odd ` stays"),
        ("plain", "plain"),
    ],
)
def test_backticks_mark_code(text, expected):
    assert mark_code(text) == expected

"""TensorBoard loads plugins unguarded: nothing of ours may end it."""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import introspect_tb.plugin
import pytest
from introspect_tb import loader, pages
from introspect_tb.loader import IntrospectLoader
from tensorboard import default
from tensorboard.plugins import base_plugin

BLOCK = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "keras", "tf_keras", "jax", "torch"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocker())
"""


def test_the_entry_point_is_the_loader() -> None:
    (point,) = [point for point in entry_points(group="tensorboard_plugins") if point.name == "introspect"]
    assert point.load() is IntrospectLoader
    assert IntrospectLoader in default.get_dynamic_plugins()


def test_importing_the_loader_imports_nothing_but_tensorboard() -> None:
    tree = ast.parse(Path(loader.__file__).read_text())
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in top}
    assert names == {"__future__", "logging", "typing", "tensorboard.plugins"}


@pytest.mark.parametrize(
    ("flags", "kept"),
    [
        (SimpleNamespace(samples_per_plugin={}), {"introspect": 0}),
        (SimpleNamespace(samples_per_plugin={"introspect": 37}), {"introspect": 37}),
        (SimpleNamespace(samples_per_plugin={"images": 5}), {"images": 5, "introspect": 0}),
    ],
)
def test_every_report_is_kept_unless_the_user_says_otherwise(flags: Any, kept: dict[str, int]) -> None:
    IntrospectLoader().fix_flags(flags)
    assert flags.samples_per_plugin == kept


@pytest.mark.parametrize("flags", [None, SimpleNamespace(), SimpleNamespace(samples_per_plugin=None)])
def test_flags_of_another_kind_end_nothing(flags: Any) -> None:
    IntrospectLoader().fix_flags(flags)


def test_no_flags_are_added() -> None:
    parser = argparse.ArgumentParser()
    before = len(parser._actions)
    IntrospectLoader().define_flags(parser)
    assert len(parser._actions) == before


def test_a_plugin_that_cannot_be_made_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ImportError("protobuf is too old")

    monkeypatch.setattr(introspect_tb.plugin, "IntrospectPlugin", fail)
    assert IntrospectLoader().load(base_plugin.TBContext()) is None


def test_a_module_that_cannot_be_imported_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "introspect_tb.plugin", None)
    assert IntrospectLoader().load(base_plugin.TBContext()) is None


def test_the_tab_is_named_and_never_active_by_itself() -> None:
    plugin = IntrospectLoader().load(base_plugin.TBContext())
    assert not plugin.is_active()
    meta = plugin.frontend_metadata()
    assert (meta.tab_name, meta.es_module_path) == ("Introspect", "/index.js")
    assert not meta.remove_dom
    assert not meta.disable_reload


def test_all_of_it_works_where_tensorflow_cannot_be_imported(tmp_path: Path) -> None:
    code = BLOCK + (
        "from tests.tb.serving import LogClient\n"
        "from tests.tb.synthetic import make_gan_series, write_series\n"
        "run = write_series(make_gan_series(), sys.argv[1])\n"
        "client = LogClient(sys.argv[1])\n"
        "assert client.read('report', run=run)['ok']\n"
        "assert client.read('compare', run=run, with_at=0)['changes']['rows'] == 0\n"
        "assert client.ask('export', run=run, format='csv').status_code == 200\n"
        "assert client.ask('export', run=run, format='json').status_code == 200\n"
        "assert not {'tensorflow', 'keras', 'tf_keras'} & set(sys.modules)\n"
    )
    root = Path(__file__).parent.parent.parent
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=120, cwd=root)


def test_the_page_is_an_exact_table_of_safe_files() -> None:
    table = pages.load_pages()
    assert pages.ENTRY in table
    for route, page in table.items():
        assert route.startswith("/")
        assert ".." not in route
        assert page.content_type in pages._TYPES.values()
    assert table[pages.ENTRY].expires == 0


def test_the_page_that_is_not_built_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "STATIC", "nowhere")
    (page,) = pages.load_pages().values()
    assert b"npm run build" in page.content


def test_only_names_with_a_hash_are_kept_by_the_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [
        "index.js",
        "assets/layout-Bq3x_9aZ.js",
        "assets/page.css",
        "notes.exe",
        ".hidden.js",
        "style-1a2b3c4d.css",
    ]
    for name in names:
        path = tmp_path / "static" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    monkeypatch.setattr(pages, "files", lambda _: tmp_path)
    table = pages.load_pages()
    assert {route: page.expires > 0 for route, page in table.items()} == {
        "/index.js": False,
        "/assets/layout-Bq3x_9aZ.js": True,
        "/assets/page.css": False,
        "/style-1a2b3c4d.css": True,
    }
    assert table["/assets/page.css"].content_type == "text/css"

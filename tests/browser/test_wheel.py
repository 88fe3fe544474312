"""The wheel in an environment of TensorBoard alone: no TensorFlow, nothing of the repository."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.browser.conftest import FRONTEND, Open
from tests.browser.tab import expect
from tests.tb.processes import run_tensorboard
from tests.tb.synthetic import make_cut_series, write_series

ROOT = FRONTEND.parents[1]
LOOK = """
import importlib.util, introspect, introspect_tb.plugin
assert "site-packages" in introspect.__file__, introspect.__file__
assert importlib.util.find_spec("tensorflow") is None and importlib.util.find_spec("keras") is None
"""


def run(*command: str | Path, cwd: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of what git holds: setuptools leaves a build folder beside its source."""
    folder = tmp_path_factory.mktemp("wheel")
    archive, source = folder / "source.tar", folder / "source"
    source.mkdir()
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(["tar", "cf", archive, "--null", "-T", "-"], cwd=ROOT, input=names, check=True)
    subprocess.run(["tar", "xf", archive], cwd=source, check=True)
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", folder, source, cwd=folder)
    (found,) = folder.glob("*.whl")
    return found


@pytest.mark.slow
def test_the_wheel_holds_the_page_and_no_source_of_it(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    built = {f"introspect_tb/static/{file.name}" for file in (FRONTEND.parent / "static").iterdir()}
    assert built <= names
    assert {"introspect_tb/http_api.md", "introspect/report/report.proto", "introspect/py.typed"} <= names
    assert not [name for name in names if "frontend" in name or "node_modules" in name or name.startswith("tests")]


@pytest.mark.slow
def test_a_clean_environment_shows_the_tab(wheel: Path, open_tab: Open, tmp_path: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    run(python, "-m", "pip", "install", "--quiet", wheel, cwd=tmp_path)
    run(python, "-c", LOOK, cwd=tmp_path)
    logs, work = tmp_path / "logs", tmp_path / "work"
    work.mkdir()
    write_series(make_cut_series(), str(logs))
    with run_tensorboard(logs, work, python=python) as server:
        server.wait(lambda: server.read("runs")["runs"])
        tab = open_tab(server, "sel=v:encoder/block_2/kernel").ready()
        expect(tab.find(".verdict h2")).to_contain_text("13 of 28 variables that you set trainable do not train")
        expect(tab.find(".drawing > svg")).to_be_visible()
        expect(tab.page.get_by_role("tab", name="Introspect")).to_be_visible()
        tab.finish()

"""The committed page is what its source builds, to the byte; its types and its own tests hold."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.browser.conftest import FRONTEND, require

STATIC = FRONTEND.parent / "static"
Npm = Callable[..., str]


@pytest.fixture(scope="module")
def npm(tmp_path_factory: pytest.TempPathFactory) -> Npm:
    """Runs npm in a copy of the source, with the packages of the lock file."""
    require(shutil.which("npm"), "npm")
    copy = tmp_path_factory.mktemp("page") / "frontend"
    shutil.copytree(FRONTEND, copy, ignore=shutil.ignore_patterns("node_modules"))

    def run(*arguments: str) -> str:
        done = subprocess.run(["npm", *arguments], cwd=copy, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return str(copy.parent)

    run("ci", "--ignore-scripts")
    return run


def _read(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def test_the_built_page_is_the_committed_one(npm: Npm) -> None:
    built = Path(npm("run", "build")) / "static"
    names, committed = _read(built), _read(STATIC)
    assert sorted(names) == sorted(committed), "run `npm run build` in tb_plugin/frontend and commit tb_plugin/static"
    assert [name for name in names if names[name] != committed[name]] == []


def test_types_and_logic_hold(npm: Npm) -> None:
    npm("run", "check")
    npm("test")


def test_the_lock_file_names_no_registry() -> None:
    lock = (FRONTEND / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert "registry" not in lock


def test_notices_name_what_is_bundled() -> None:
    notices = (STATIC / "NOTICES.txt").read_text()
    assert "preact" in notices
    assert "Permission is hereby granted" in notices

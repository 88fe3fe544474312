"""A real Chromium before a real `tensorboard`: each test looks at a tab, and at the end nothing may have gone wrong in it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.tab import PATIENCE, Tab
from tests.tb.processes import TensorBoard, run_tensorboard
from tests.tb.synthetic import SERIES, write_series

if TYPE_CHECKING:
    from playwright.sync_api import Browser

FRONTEND = Path(__file__).parents[2] / "tb_plugin" / "frontend"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
Open = Callable[..., Tab]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All that stands in this folder drives a browser or the tools that build the page."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


def require(found: object, what: str) -> None:
    """Skip where `what` is missing on a person's machine; fail in CI, where it must not be."""
    if found:
        return
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing, and the browser tests must run in CI")
    pytest.skip(f"{what} is missing")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    require(path, "Chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        require(None, "playwright (pip install playwright)")
        raise
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, from the page's own development dependencies."""
    source = FRONTEND / "node_modules" / "axe-core" / "axe.min.js"
    if not source.exists():
        require(shutil.which("npm"), "npm")
        subprocess.run(["npm", "ci", "--ignore-scripts"], cwd=FRONTEND, check=True, capture_output=True, timeout=300)
    return source.read_text()


class Shelf:
    """Running TensorBoards by what they show, each started once."""

    def __init__(self, stack: ExitStack, root: Path) -> None:
        self._stack = stack
        self._root = root
        self._running: dict[tuple[str, ...], TensorBoard] = {}

    def serve(self, *names: str) -> TensorBoard:
        """A TensorBoard over the synthetic series of these names."""
        if names not in self._running:
            folder = self._root / str(len(self._running))
            log_dir, work_dir = folder / "logs", folder / "work"
            log_dir.mkdir(parents=True)
            work_dir.mkdir()
            for name in names:
                write_series(SERIES[name](), str(log_dir))
            self._running[names] = self._stack.enter_context(run_tensorboard(log_dir, work_dir))
        return self._running[names]


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    with ExitStack() as stack:
        yield Shelf(stack, tmp_path_factory.mktemp("tensorboards"))


@pytest.fixture
def open_tab(browser: Browser) -> Iterator[Open]:
    """Opens tabs; when the test is over, each of them must have stayed without error and within its own host."""
    with ExitStack() as stack:
        tabs: list[Tab] = []

        def open_one(server: TensorBoard, link: str = "", **options: Any) -> Tab:
            context = browser.new_context(viewport=options.pop("viewport", {"width": 1440, "height": 900}), **options)
            context.set_default_timeout(PATIENCE)
            stack.callback(context.close)
            tab = Tab(context.new_page(), server.url)
            tabs.append(tab)
            return tab.go(link)

        yield open_one
        for tab in tabs:
            tab.finish()


@pytest.fixture
def open_vgg(open_tab: Open, shelf: Shelf) -> Open:
    """Opens the usual runs: a fine-tune that goes wrong and is mended, and others beside it."""
    server = shelf.serve("vgg", "gan", "two_replicas", "cut")

    def open_one(link: str = "run=vgg/introspect", **options: Any) -> Tab:
        return open_tab(server, link, **options)

    return open_one

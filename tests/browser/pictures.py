"""The pictures of the README, taken anew: python -m tests.browser.pictures docs/images"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from tests.browser.conftest import FLAGS
from tests.browser.tab import Tab
from tests.tb.processes import run_tensorboard
from tests.tb.synthetic import SERIES, write_series

VIEWS = {
    "tab-light.png": ("run=vgg/introspect&at=300&sel=v:backbone/block1_conv2/kernel", False),
    "tab-dark.png": ("run=cut/introspect&sel=v:encoder/block_2/kernel", True),
}


def main(out: str) -> None:
    """Write each view as a file below `out`."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        logs, work = Path(folder, "logs"), Path(folder, "work")
        logs.mkdir()
        work.mkdir()
        for name in ("vgg", "cut", "gan"):
            write_series(SERIES[name](), str(logs))
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        with run_tensorboard(logs, work) as server:
            for name, (link, dark) in VIEWS.items():
                page = browser.new_page(viewport={"width": 1440, "height": 860}, reduced_motion="reduce")
                tab = Tab(page, server.url).go(link, dark).ready()
                tab.find(".drawing > svg").wait_for()
                tab.find("[role=treegrid]").evaluate("table => { table.scrollTop = 0 }")
                page.wait_for_timeout(800)
                page.screenshot(path=str(Path(out, name)))
                page.close()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])

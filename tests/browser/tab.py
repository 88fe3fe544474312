"""The Introspect tab as a test sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlparse

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Dialog, Frame, Locator, Page, Request

PATIENCE = 90_000
"""Milliseconds that a test waits for what must come: a loaded machine is no fault of the page."""
IFRAME = "iframe[src*='name=introspect']"
WATCH_POLICY = """
window.broken = [];
addEventListener("securitypolicyviolation", (event) => window.broken.push(event.violatedDirective + " " + event.blockedURI));
"""


def expect(locator: Locator) -> Any:
    """Playwright's assertions, which wait; imported late, so that the tests can be collected without it."""
    from playwright.sync_api import expect as wait_for

    wait_for.set_options(timeout=PATIENCE)
    return wait_for(locator)


class Tab:
    """A page of TensorBoard with the tab in front. `link` is the part of a permalink that is ours: run=…&at=…"""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.errors: list[str] = []
        self.strangers: list[str] = []
        self.requests: list[str] = []
        self.allowed: tuple[str, ...] = ()
        page.add_init_script(WATCH_POLICY)
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._on_request)
        page.on("dialog", self._on_dialog)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def _on_dialog(self, dialog: Dialog) -> None:
        self.errors.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _on_request(self, request: Request) -> None:
        self.requests.append(request.url)
        parts = urlparse(request.url)
        if parts.scheme not in ("data", "blob", "about") and parts.netloc != urlparse(self.url).netloc:
            self.strangers.append(request.url)

    def go(self, link: str = "", dark: bool = False) -> Tab:
        """Load TensorBoard anew with a link to a view of ours."""
        parts = [part.split("=", 1) for part in link.split("&") if part]
        ours = "".join(f"&p.introspect.{name}={quote(value, safe='')}" for name, value in parts)
        self.page.goto("about:blank")
        self.page.goto(f"{self.url}?darkMode={str(dark).lower()}#introspect{ours}")
        self.main.wait_for()
        return self

    @property
    def frame(self) -> Frame:
        handle = self.page.wait_for_selector(IFRAME, state="attached")
        assert handle is not None
        frame = handle.content_frame()
        assert frame is not None
        return frame

    @property
    def main(self) -> Locator:
        return self.page.frame_locator(IFRAME).locator("main")

    def find(self, selector: str, **options: Any) -> Locator:
        """An element of our page."""
        return self.page.frame_locator(IFRAME).locator(selector, **options)

    def role(self, role: Any, name: str, **options: Any) -> Locator:
        """An element of our page, by what a screen reader calls it."""
        return self.page.frame_locator(IFRAME).get_by_role(role, name=name, **options)

    def ready(self) -> Tab:
        """Wait for the verdict."""
        self.find(".verdict h2").wait_for()
        return self

    def rows(self) -> list[str]:
        """First cells of the rows that are drawn, top to bottom."""
        found: list[str] = self.find(".table [role=treegrid], .table[role=treegrid]").evaluate(
            """table => [...table.querySelectorAll('.rows [role=row]')]
              .sort((a, b) => a.ariaRowIndex - b.ariaRowIndex)
              .map(row => row.querySelector('.label').textContent)"""
        )
        return found

    def focused_row(self) -> str:
        """The name of the row that has the focus, with its level."""
        found: str = self.frame.evaluate(
            "(() => { const row = document.activeElement; return row.getAttribute('role') === 'row'"
            " ? row.getAttribute('aria-level') + ' ' + row.querySelector('.label').textContent : row.tagName })()"
        )
        return found

    def hash(self) -> dict[str, str]:
        """What TensorBoard's address keeps of our state."""
        prefix = "p.introspect."
        parts = urlparse(self.page.url).fragment.split("&")
        pairs = (part[len(prefix) :].split("=", 1) for part in parts if part.startswith(prefix))
        return {unquote(name): unquote(value) for name, value in pairs}

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def finish(self) -> None:
        """Check and close: once, and before the server ends, which the page would rightly complain of."""
        if not self.page.is_closed():
            self.check_clean()
            self.page.close()

    def check_clean(self) -> None:
        """No error in the console, nothing against the policy, no request to another host."""
        broken = self.frame.evaluate("window.broken") if self.page.url.startswith(self.url) else []
        unexpected = [error for error in self.errors if not any(known in error for known in self.allowed)]
        assert (unexpected, broken, self.strangers) == ([], [], [])

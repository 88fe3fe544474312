"""The built page: an exact table of its files, made once; no request ever names a path on disk."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

STATIC = "static"
ENTRY = "/index.js"
_TYPES = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".txt": "text/plain",
    ".png": "image/png",
    ".woff2": "font/woff2",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HASHED = re.compile(r"[-.][A-Za-z0-9_-]{8,}\.[a-z0-9]+$")
_DAY = 86_400
_NOT_BUILT = b"""export function render() {
  document.body.textContent = "The Introspect page is not built. In tb_plugin/frontend: npm ci && npm run build";
}
"""


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file of the page, as it is answered."""

    content: bytes
    content_type: str
    expires: int
    """Seconds that a browser may keep it; 0 for names without a hash."""


def load_pages() -> dict[str, StaticFile]:
    """All files of the page by route."""
    found: dict[str, StaticFile] = {}
    static = files(__package__).joinpath(STATIC)
    if static.is_dir():
        _add_folder(found, static, "")
    found.setdefault(ENTRY, StaticFile(_NOT_BUILT, _TYPES[".js"], 0))
    return found


def _add_folder(found: dict[str, StaticFile], folder: Traversable, prefix: str) -> None:
    for item in folder.iterdir():
        if not _NAME.fullmatch(item.name):
            continue
        route = f"{prefix}/{item.name}"
        if item.is_dir():
            _add_folder(found, item, route)
            continue
        content_type = _TYPES.get(item.name[item.name.rfind(".") :])
        if content_type is not None:
            expires = _DAY if _HASHED.search(item.name) else 0
            found[route] = StaticFile(item.read_bytes(), content_type, expires)

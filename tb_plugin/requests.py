"""What requests may say, and how answers and errors leave: bounded, read-only, never with a traceback."""

from __future__ import annotations

import gzip
import json
import logging
import re
from collections.abc import Callable
from typing import Any

from tensorboard.backend import http_util
from tensorboard.errors import PublicError
from werkzeug.wrappers import Request, Response

from .reports import RequestError

MAX_QUERY = 8192
MAX_RUN = 1024
MAX_VARIABLE = 4096
MAX_VARIABLES = 16
_METHODS = ("GET", "HEAD")
_AT = re.compile(r"[0-9]{1,19}")
_LOG = logging.getLogger(__name__)

Answer = Callable[[Request], Response]


def guard_route(answer: Answer) -> Any:
    """A WSGI application that answers GET and HEAD, and every failure in one line of plain text."""

    @Request.application
    def application(request: Request) -> Response:
        if request.method not in _METHODS:
            return refuse(request, 405, "this route is read-only", [("Allow", ", ".join(_METHODS))])
        try:
            if len(request.query_string) > MAX_QUERY:
                raise RequestError(400, f"the query is longer than {MAX_QUERY} bytes")
            return answer(request)
        except RequestError as error:
            return refuse(request, error.status, str(error))
        except PublicError as error:
            return refuse(request, error.http_code, str(error), list(error.headers))
        except Exception:
            _LOG.exception("introspect: a request failed")
            return refuse(request, 500, "the Introspect plugin failed; TensorBoard's log says how")

    return application


def respond(request: Request, content: str | bytes, content_type: str, **options: Any) -> Response:
    """An answer with TensorBoard's own headers: no sniffing, no caching, compressed where the browser takes it."""
    response: Response = http_util.Respond(request, content, content_type, **options)
    return response


def refuse(request: Request, status: int, message: str, headers: list[tuple[str, str]] | None = None) -> Response:
    """An error: one line of plain text."""
    line = " ".join(message.split()) + "\n"
    return respond(request, line, "text/plain", code=status, headers=headers)


def pack_json(value: Any) -> bytes:
    """JSON as it is kept and sent: ASCII, gzip. NaN is a fault of ours here."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return gzip.compress(text.encode("ascii"), 4, mtime=0)


def send_json(request: Request, packed: bytes) -> Response:
    """An answer that `pack_json` made."""
    return respond(request, packed, "application/json", content_encoding="gzip")


def send_file(request: Request, content: bytes, content_type: str, name: str) -> Response:
    """A download; `name` is ours, never a text from a log."""
    headers = [("Content-Disposition", f'attachment; filename="{name}"')]
    return respond(request, content, content_type, headers=headers)


def take_text(request: Request, name: str, limit: int) -> str:
    """A parameter that must be there once."""
    values = request.args.getlist(name)
    if len(values) != 1:
        raise RequestError(400, f"give {name} once")
    return _bound(values[0], name, limit)


def take_optional_text(request: Request, name: str, limit: int) -> str | None:
    """A parameter that may be left out."""
    return take_text(request, name, limit) if name in request.args else None


def take_texts(request: Request, name: str, limit: int, count: int) -> list[str]:
    """A parameter that may stand one to `count` times."""
    values = request.args.getlist(name)
    if not 1 <= len(values) <= count:
        raise RequestError(400, f"give {name} 1 to {count} times")
    return [_bound(value, name, limit) for value in values]


def take_at(request: Request, name: str) -> int | None:
    """A place in a run, or None where it is left out."""
    text = take_optional_text(request, name, 64)
    if text is None:
        return None
    if not _AT.fullmatch(text) or int(text) >= 2**63:
        raise RequestError(400, f"{name} is a whole number from 0")
    return int(text)


def _bound(value: str, name: str, limit: int) -> str:
    if len(value) > limit:
        raise RequestError(400, f"{name} is longer than {limit} characters")
    return value

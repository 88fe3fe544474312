"""What does the compiled Keras train step really train? Reads the graph, not the flags.

Nothing here imports TensorFlow or Keras until something needs them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from introspect.errors import IntrospectError, IntrospectWarning, MismatchError

if TYPE_CHECKING:
    from introspect.api import inspect
    from introspect.assertions import assert_frozen, assert_trains
    from introspect.callback import IntrospectCallback
    from introspect.flags import trace_flags
    from introspect.recompilation import recompile
    from introspect.records import Finding, Report

__version__ = "0.1.0"

_WHERE = {
    "inspect": "introspect.api",
    "assert_trains": "introspect.assertions",
    "assert_frozen": "introspect.assertions",
    "IntrospectCallback": "introspect.callback",
    "trace_flags": "introspect.flags",
    "recompile": "introspect.recompilation",
    "Report": "introspect.records",
    "Finding": "introspect.records",
}

__all__ = [
    "Finding",
    "IntrospectCallback",
    "IntrospectError",
    "IntrospectWarning",
    "MismatchError",
    "Report",
    "assert_frozen",
    "assert_trains",
    "inspect",
    "recompile",
    "trace_flags",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'introspect' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})

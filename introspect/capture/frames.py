"""Which frames of a stack are the user's own, and what an error says in one line."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from collections.abc import Iterable
from functools import cache
from typing import Any

from introspect.errors import IntrospectError
from introspect.records import Location

FRAMEWORKS = ("tensorflow", "keras", "tf_keras", "introspect", "absl", "wrapt", "numpy", "optree")
PLUMBING = ("google", "h5py", "ml_dtypes", "tensorboard")
"""Packages that the frameworks stand on."""
INTERACTIVE = ("<ipython-input", "<python-input", "<stdin>")
"""How the files of code begin that was typed at a prompt."""
GENERATED = "__autograph_generated_file"
"""In the name of a file that AutoGraph wrote."""
RAISED = re.compile(r"^\s*(?:[\w.]*\.)?(\w*(?:Error|Exception|Warning)): (.+)$")
VALUES = re.compile(r",? value=\[.*?\](?=>)|, numpy=.*?(?=>)", re.DOTALL)
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
ENDS = re.compile(r"\.? (?:Received|Arguments received|Full shape received|Call arguments)\b")


def find_loaded() -> tuple[str, ...]:
    """The frameworks that are imported: what is asked before one of them is must not be remembered after."""
    return tuple(name for name in FRAMEWORKS if name in sys.modules)


@cache
def framework_folders(loaded: tuple[str, ...]) -> tuple[str, ...]:
    """Folders whose files are TensorFlow's, Keras' or introspect's."""
    folders = {os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + "/introspect/"}
    for root in {sysconfig.get_paths()["purelib"], sysconfig.get_paths()["platlib"]}:
        folders.update(os.path.join(root, name) + os.sep for name in FRAMEWORKS)
    for name in loaded:
        path = getattr(sys.modules.get(name), "__file__", None)
        if path:
            folders.add(os.path.dirname(os.path.abspath(path)) + os.sep)
    return tuple(sorted(folders))


@cache
def library_folders() -> tuple[str, ...]:
    """Folders of installed packages and of Python itself."""
    paths = sysconfig.get_paths()
    return tuple({paths[name] + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def rank_file(file: str) -> int:
    """0 for a framework's file, 1 for another installed package's, 2 for the user's own."""
    return rank_among(file, find_loaded())


@cache
def rank_among(file: str, loaded: tuple[str, ...]) -> int:
    if file.startswith(INTERACTIVE):
        return 2
    if file.startswith(("<", *framework_folders(loaded))) or GENERATED in file:
        return 0
    return 1 if file.startswith(library_folders()) or not is_standard(file) else 2


@cache
def is_autograph(file: str) -> bool:
    """Whether the file is of AutoGraph itself, which calls what the user's code calls in its place."""
    return "/tensorflow/python/autograph/" in file.replace(os.sep, "/")


@cache
def rank_module(module: str) -> int:
    """The same of a module: 0 also for Python's own, 2 also for one without a file."""
    package = module.partition(".")[0]
    if module != "__main__" and package in (*sys.stdlib_module_names, *FRAMEWORKS, *PLUMBING):
        return 0
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return 2
    return rank_file(file) if is_standard(file) else min(rank_file(file), 1)


@cache
def list_owners(kind: Any) -> tuple[Any, ...]:
    """A class and its bases but for those that belong to a framework."""
    return tuple(base for base in kind.__mro__ if rank_module(str(base.__module__)))


def pick_frame(frames: Iterable[tuple[str, int, str]]) -> Location | None:
    """The innermost frame of the user's own, else of an installed package; frames come innermost first."""
    package: Location | None = None
    for file, line, function in frames:
        rank = rank_file(file)
        if rank == 2:
            return Location(name_file(file), line, function)
        if rank == 1 and package is None and not is_standard(file):
            package = Location(file, line, function)
    return package


def name_file(file: str) -> str:
    """`In[3]` for a cell of a notebook; any other file as it is. Seen on IPython 8 and 9."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    name_code = getattr(getattr(shell, "compile", None), "format_code_name", None)
    named = name_code(file) if name_code is not None else None
    return str(named[1]) if named else file


@cache
def is_standard(file: str) -> bool:
    """Whether the file is of Python's own library."""
    return "site-packages" not in file and "dist-packages" not in file


def explain_error(error: BaseException) -> str:
    """What a framework's error says, in one line: class and message, without AutoGraph's stack and values of variables."""
    if isinstance(error, IntrospectError):
        return str(error)
    name, text = type(error).__name__, COLOURS.sub("", str(error))
    for line in text.splitlines():
        found = RAISED.match(line) if "in user code:" in text else None
        if found:
            name, text = found.group(1), found.group(2)
    text = " ".join(VALUES.sub("", text).split())
    message = next((text[: place.start()] for place in ENDS.finditer(text) if place.start() > 40), text)
    return f"{name}: {message[:300]}" if message else name


def locate_error(error: BaseException) -> Location | None:
    """The user's innermost frame in an error's traceback."""
    frames: list[tuple[str, int, str]] = []
    trace: Any = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        frames.append((code.co_filename, trace.tb_lineno, code.co_name))
        trace = trace.tb_next
    return pick_frame(reversed(frames))

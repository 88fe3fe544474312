"""The borders between the folders: no arrow upward, no circle, heavy imports only where they belong."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "introspect"

ORDER = [
    ("errors", "devices", "records"),
    ("capture.record",),
    ("graph",),
    ("evidence",),
    ("expectation", "history", "proof"),
    ("facts",),
    ("rules",),
    ("report",),
    ("outlets",),
    ("diagnosis",),
]
"""From the bottom to the top; what is not listed (api, callback, command line, capture) may import all of it."""


def list_modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(ROOT.rglob("*.py")):
        if not path.name.endswith("_pb2.py"):
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path


def level_of(module: str) -> int | None:
    for level, names in enumerate(ORDER):
        if any(module == name or module.startswith(name + ".") for name in names):
            return level
    return None


def imports_of(path: Path, top_only: bool) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_no_arrow_points_upward() -> None:
    wrong = []
    for module, path in list_modules():
        mine = level_of(module)
        if mine is None:
            continue
        for name in imports_of(path, top_only=True):
            theirs = level_of(name.removeprefix("introspect.")) if name.startswith("introspect.") else None
            if theirs is not None and theirs > mine:
                wrong.append(f"{module} imports {name}")
    assert not wrong


def test_heavy_imports_stay_in_capture() -> None:
    wrong = []
    for module, path in list_modules():
        if module.startswith("capture") or module == "callback":
            continue
        wrong += [
            f"{module}: {name}"
            for name in imports_of(path, top_only=False)
            if name.split(".")[0] in ("tensorflow", "keras", "tf_keras")
        ]
    assert not wrong


def test_protobuf_stays_where_messages_are_read() -> None:
    allowed = ("capture", "graph.messages", "report.serde", "report.report_pb2")
    wrong = [
        f"{module}: {name}"
        for module, path in list_modules()
        if not module.startswith(allowed)
        for name in imports_of(path, top_only=False)
        if name.startswith("google.protobuf") or name.endswith("report_pb2")
    ]
    assert not wrong


def test_no_circle() -> None:
    edges: dict[str, set[str]] = {}
    modules = dict(list_modules())
    for module, path in modules.items():
        named = {name.removeprefix("introspect.") for name in imports_of(path, top_only=True)}
        edges[module] = {name for name in named if name in modules and name != module}
    state: dict[str, int] = {}

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert state.get(module) != 1, " → ".join((*trail, module))
        if state.get(module) == 2:
            return
        state[module] = 1
        for other in sorted(edges.get(module, ())):
            visit(other, (*trail, module))
        state[module] = 2

    for module in modules:
        visit(module, ())


@pytest.mark.parametrize("code", ["import introspect", "import introspect.rules", "import introspect.cli"])
def test_light_imports(code: str) -> None:
    script = f"{code}; import sys; print([m for m in ('tensorflow', 'keras', 'tf_keras') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


MISSING = """
import sys
sys.modules.update(dict.fromkeys({missing!r}))
import introspect
try:
    {code}
except introspect.IntrospectError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (["keras", "tensorflow"], "TensorFlow is not installed here; pip install tensorflow"),
        (["keras"], "Keras cannot be imported, for module 'keras' is missing; pip install keras"),
    ],
)
@pytest.mark.parametrize("code", ["introspect.IntrospectCallback()", "introspect.trace_flags().__enter__()"])
def test_what_needs_keras_says_that_it_is_missing(code: str, missing: list[str], said: str) -> None:
    script = MISSING.format(missing=missing, code=code)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(said)
    assert done.stdout.count("\n") == 1

"""What of a fix can be tried on a copy: its code, read as the few statements that a trial knows how to do.

A fix offers one remedy, or several of which each begins on a line `# or, …`. A remedy with any other statement than
these is not tried, for there the user's code has to change.

| code | done on the copy |
| --- | --- |
| `introspect.recompile(model)` | Recompile |
| `model.compile(optimizer=..., …)` | Compile, with a new optimizer |
| `model.compile(optimizer=model.optimizer, …)` | Compile, with that one |
| `model.get_layer("a").get_layer("b").trainable = False` | SetFlag |
| `model.get_layer("a").blocks[0].inner.trainable = False` | SetFlag |
| `layer.trainable = False  # a/b` | SetFlag of the layer with this path |
| `for name in ("a", "b"): model.get_layer(name).trainable = False` | SetFlag, each |
| `self.name = name`, `self.name = self.helper.name`, `self.held = [name, other]` | Hold |
| `optimizer = type(optimizer).from_config(optimizer.get_config())` | RenewOptimizer |
| `optimizer.build(model.trainable_variables)` | BuildOptimizer |
| `step = tf.function(step.python_function)` | Retrace |
| `inner = tf.function(inner.python_function)  # which the step calls` | RetraceBelow |
| the same of `trainer.optimizer`, `trainer.step`, `trainer.inner` | the same |
| `with model.distribute_strategy.scope(): …` | what stands inside |
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

OR = "# or, "
"""Begins the line with which a further remedy begins."""

LAYER_BY_PATH = re.compile(r"^layer\.trainable = (True|False)  # (.+)$", re.MULTILINE)
BELOW = "which the step calls"
"""The comment by which a tf.function that the step calls is told from the step."""
LINE_BELOW = re.compile(rf"^(\S+) = tf\.function\(\1\.python_function\)  # {BELOW}$", re.MULTILINE)
STRATEGY = "model.distribute_strategy.scope()"


@dataclass(frozen=True, slots=True)
class Recompile:
    """Compile again, the optimizer's state kept."""


@dataclass(frozen=True, slots=True)
class Compile:
    """Compile again, with a new optimizer or with `model.optimizer` itself."""

    renew: bool


@dataclass(frozen=True, slots=True)
class Held:
    """An attribute that holds a layer, or an item of one."""

    key: str | int
    item: bool = False


@dataclass(frozen=True, slots=True)
class SetFlag:
    """Set a layer's flag: of the one that `get_layer` finds by these names and attributes hold, or of the one with this path."""

    names: tuple[str | Held, ...]
    value: bool
    path: str | None = None

    def describe(self) -> str:
        """ "encoder/blocks/0/inner"; nothing for the model itself."""
        return self.path or "/".join(name if isinstance(name, str) else str(name.key) for name in self.names)


@dataclass(frozen=True, slots=True)
class Hold:
    """Let the model hold what the step would train and the model does not see."""


@dataclass(frozen=True, slots=True)
class RenewOptimizer:
    """Take an optimizer that knows no variable yet, for a loop of the user's own."""


@dataclass(frozen=True, slots=True)
class BuildOptimizer:
    """Build the loop's optimizer for what the model trains now, before the step is traced."""


@dataclass(frozen=True, slots=True)
class Retrace:
    """Make the user's tf.function anew."""


@dataclass(frozen=True, slots=True)
class RetraceBelow:
    """Make a tf.function anew that the step calls."""

    name: str


Action = Recompile | Compile | SetFlag | Hold | RenewOptimizer | BuildOptimizer | Retrace | RetraceBelow


@dataclass(frozen=True, slots=True)
class Remedy:
    """One of the things that a fix offers.

    Attributes:
        actions: what a trial of it does, in order; None where the user's code has to change.
    """

    code: str
    actions: tuple[Action, ...] | None


def offer_both(first: str, second: str) -> str:
    """A fix of two remedies, the better one first."""
    return f"{first}\n{OR}{second.removeprefix('# ')}"


def read_remedies(fix: str) -> tuple[Remedy, ...]:
    """The remedies that a fix offers; a further one that is prose alone is left out."""
    parts: list[list[str]] = [[]]
    for line in fix.splitlines():
        if line.startswith(OR):
            parts.append([])
        parts[-1].append(line)
    texts = ["\n".join(lines) for lines in parts if lines is parts[0] or any(line[:1] != "#" for line in lines)]
    return tuple(Remedy(text, read_actions(text)) for text in texts)


def read_actions(code: str) -> tuple[Action, ...] | None:
    """The actions that code stands for, None where it does anything else."""
    plain = LAYER_BY_PATH.sub(lambda found: f"layer[{found[2]!r}].trainable = {found[1]}", code)
    plain = LINE_BELOW.sub(lambda found: f"below = {found[1]!r}", plain)
    try:
        actions = [action for node in ast.parse(plain).body for action in read_statement(node)]
    except (SyntaxError, ValueError):
        return None
    return tuple(actions) or None


def read_statement(node: ast.stmt) -> Iterator[Action]:
    """Raises ValueError for a statement that no trial can do."""
    if isinstance(node, ast.For):
        yield from read_loop(node)
    elif isinstance(node, ast.With) and ast.unparse(node.items[0]) == STRATEGY and len(node.items) == 1:
        for inside in node.body:
            yield from read_statement(inside)
    elif isinstance(node, ast.Assign):
        yield read_assignment(node)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield read_call(node.value)
    else:
        raise ValueError(ast.unparse(node))


def read_call(call: ast.Call) -> Action:
    said = ast.unparse(call)
    if said == "introspect.recompile(model)":
        return Recompile()
    if ast.unparse(call.func).endswith(".build") and [*map(ast.unparse, call.args)] == ["model.trainable_variables"]:
        return BuildOptimizer()
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    optimizer = given.pop("optimizer", None)
    compiles = ast.unparse(call.func) == "model.compile" and not call.args and set(given.values()) <= {"..."}
    if compiles and optimizer in ("...", "model.optimizer"):
        return Compile(renew=optimizer == "...")
    raise ValueError(said)


def read_assignment(node: ast.Assign) -> Action:
    said, (target, *others) = ast.unparse(node), node.targets
    name = ast.unparse(target)
    if said == f"{name} = type({name}).from_config({name}.get_config())":
        return RenewOptimizer()
    if said == f"{name} = tf.function({name}.python_function)":
        return Retrace()
    if holds_own(node):
        return Hold()
    value = node.value.value if isinstance(node.value, ast.Constant) else None
    if name == "below" and isinstance(value, str) and not others:
        return RetraceBelow(value)
    if not isinstance(value, bool) or not isinstance(target, ast.Attribute) or target.attr != "trainable" or others:
        raise ValueError(said)
    if isinstance(target.value, ast.Subscript) and ast.unparse(target.value.value) == "layer":
        return SetFlag((), value, path=ast.literal_eval(target.value.slice))
    return SetFlag(tuple(read_names(target.value)), value)


def holds_own(node: ast.Assign) -> bool:
    """Whether an attribute of `self` is given what has its name, or what another one leads to; or a list of such."""
    (target, *others), made = node.targets, node.value
    if others or not isinstance(target, ast.Attribute) or ast.unparse(target.value) != "self":
        return False
    if isinstance(made, ast.List):
        return bool(made.elts) and all(isinstance(part, ast.Name) or leads_on(part) for part in made.elts)
    return (isinstance(made, ast.Name) and made.id == target.attr) or leads_on(made)


def leads_on(node: ast.expr) -> bool:
    """Whether it is an attribute of what an attribute of `self` holds, or of an item of that."""
    parts = 0
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        parts += isinstance(node, ast.Attribute)
        node = node.value
    return parts > 1 and ast.unparse(node) == "self"


def read_names(node: ast.expr) -> Iterator[str | Held]:
    """Names in a chain of `get_layer` and attributes, the outermost first; none for the model itself."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get_layer":
        (name,) = node.args
        yield from read_names(node.func.value)
        yield str(ast.literal_eval(name))
    elif isinstance(node, ast.Attribute):
        yield from read_names(node.value)
        yield Held(node.attr)
    elif isinstance(node, ast.Subscript):
        yield from read_names(node.value)
        yield read_item(node.slice)
    elif ast.unparse(node) != "model":
        raise ValueError(ast.unparse(node))


def read_item(node: ast.expr) -> Held:
    key = ast.literal_eval(node)
    if isinstance(key, bool) or not isinstance(key, str | int):
        raise ValueError(ast.unparse(node))
    return Held(key, item=True)


def read_loop(node: ast.For) -> Iterator[Action]:
    (inside,) = node.body
    for name in ast.literal_eval(node.iter):
        yield from read_statement(Fill(ast.unparse(node.target), name).visit(ast.parse(ast.unparse(inside)).body[0]))


class Fill(ast.NodeTransformer):
    """Puts a string in a name's place."""

    def __init__(self, name: str, value: str) -> None:
        self.name = name
        self.value = value

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(self.value) if node.id == self.name else node

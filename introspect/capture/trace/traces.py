"""The concrete functions that a tf.function holds, and what one of them looks like from outside."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from introspect.capture.probe import locate_call
from introspect.capture.record import Binding, CapturedTrace
from introspect.capture.trace.export import export_step
from introspect.errors import VersionError
from introspect.records import Source


@dataclass(frozen=True, slots=True)
class LiveTrace:
    """A concrete function together with its place in the model."""

    concrete: Any
    caller: str
    source: Source = "compiled"
    jit: bool = False
    """Whether XLA compiles the step inside; the trace's own attribute tells for itself only."""
    begun: int = 0
    """TensorFlow's running number when tracing began, the first trace that made variables included; 0: not known."""
    passed: tuple[tuple[Any, Any], ...] = ()
    """(resource handle, placeholder) of each variable that the call passes as an argument."""

    @property
    def resources(self) -> list[tuple[Any, Any]]:
        """(outside, inside) of all that the function takes beside its data."""
        return [*self.concrete.graph.captures, *self.passed]


def list_live(function: Any) -> list[Any]:
    """The concrete functions of a tf.function that a call can still use, in the order they were traced.

    The first trace may have created variables; TensorFlow then traces a second time and never calls the first again.
    """
    entries = read_cache(function)
    if function._created_variables:
        scopes = [context.scope_type.name for (context, _), _ in entries]
        if "NO_VARIABLE_CREATION" in scopes:
            return [f for scope, (_, f) in zip(scopes, entries, strict=True) if scope != "VARIABLE_CREATION"]
    return [f for _, f in entries]


def read_cache(function: Any) -> list[tuple[tuple[Any, Any], Any]]:
    """((context, type), concrete function) of each trace in a tf.function's cache. Seen on TensorFlow 2.19 to 2.21.

    Items of the cache as a plain dict: an OrderedDict's own hash each key again, and a key holds all captures' types.

    Raises:
        VersionError: the cache is not where it was seen.
    """
    try:
        cache = function._function_cache
        return [] if cache is None else list(dict.items(cache._primary))
    except AttributeError as error:
        raise VersionError(
            f"cannot read the trace cache of a tf.function ({error}); tried on TensorFlow 2.19 to 2.21"
        ) from None


def freeze_trace(live: LiveTrace, trace_id: str, bindings: tuple[Binding, ...], current: bool) -> CapturedTrace:
    """The saved form of one concrete function."""
    graph = live.concrete.graph
    exported = export_step(live.concrete)
    return CapturedTrace(
        id=trace_id,
        caller=live.caller,
        signature=describe_signature(live.concrete),
        graph=exported.graph,
        step=exported.step,
        arguments=exported.arguments,
        bindings=bindings,
        outputs=tuple(tensor.name for tensor in graph.outputs),
        current=current,
        source=live.source,
        jit=live.jit or is_jit(live.concrete),
        location=locate_call(graph) if live.source == "compiled" else None,
        kept=find_kept(graph, live.begun),
        fixed=find_fixed(graph),
    )


def find_kept(graph: Any, begun: int) -> frozenset[str]:
    """Functions in the library that are older than the trace."""
    return frozenset(name for name in map(str, getattr(graph, "_functions", ())) if 0 < parse_suffix(name, "_") < begun)


def find_fixed(graph: Any) -> frozenset[str]:
    """Placeholders of the tensors with a value that the trace captured: TensorFlow hands it the same at each call."""
    import tensorflow as tf

    return frozenset(
        inside.name.partition(":")[0]
        for outside, inside in graph.captures
        if inside.dtype.name not in ("resource", "variant") and not tf.is_symbolic_tensor(outside)
    )


def find_begin(function: Any, concrete: Any) -> int:
    """When the tf.function began to trace: its first trace, which made variables, counts. Seen on TensorFlow 2.19 to 2.21."""
    others = ((kind, found) for (_, kind), found in read_cache(function) if found is not concrete)
    same = [found for kind, found in others if kind == concrete.function_type]  # compares all captures' types
    return number_first([concrete, *same])


def number_first(concretes: Iterable[Any]) -> int:
    """Number of the graph that was begun first."""
    return min(number_graph(concrete.graph) for concrete in concretes)


def number_graph(graph: Any) -> int:
    """The running number that a graph takes when it is made; finished functions take theirs from the same counter."""
    return parse_suffix(str(getattr(graph, "_graph_key", "")).rstrip("/"), "-")


def parse_suffix(name: str, separator: str) -> int:
    """The number at the end of a name; 0 where there is none."""
    digits = name.rpartition(separator)[2]
    return int(digits) if digits.isdigit() else 0


def is_jit(concrete: Any) -> bool:
    """Whether XLA must compile the function."""
    return must_compile(getattr(concrete.function_def, "attr", {}))


def must_compile(attrs: Any) -> bool:
    """The same of the attributes of a function, or of a call of one."""
    return "_XlaMustCompile" in attrs and bool(attrs["_XlaMustCompile"].b)


def describe_signature(concrete: Any) -> str:
    """The batch that a trace was made for: `(float32[?, 4], float32[?, 1])`."""
    args, kwargs = concrete.structured_input_signature
    parts = [describe_spec(arg) for arg in args] + [f"{name}={describe_spec(arg)}" for name, arg in kwargs.items()]
    return parts[0] if len(parts) == 1 else f"({', '.join(parts)})"


def describe_spec(spec: Any) -> str:
    """One argument of a signature: tensors as `dtype[shape]`, containers as Python writes them."""
    if isinstance(spec, dict):
        return "{" + ", ".join(f"{key}: {describe_spec(value)}" for key, value in spec.items()) + "}"
    if isinstance(spec, (tuple, list)):
        return f"({', '.join(describe_spec(part) for part in spec)})"
    for attribute in ("element_spec", "_element_spec"):
        if hasattr(spec, attribute):
            return describe_spec(getattr(spec, attribute))
    if hasattr(spec, "_value_specs"):  # one for each replica
        return describe_spec(spec._value_specs[0])
    if hasattr(spec, "dtype") and hasattr(spec, "shape"):
        rank_known = spec.shape.rank is not None
        sizes = ", ".join("?" if size is None else str(size) for size in spec.shape) if rank_known else "..."
        return f"{spec.dtype.name}[{sizes}]"
    return "object" if is_held(spec) else str(spec)


def is_held(spec: Any) -> bool:
    """Whether a trace keeps no more of an argument than that it was no tensor. Seen on TensorFlow 2.19 to 2.21."""
    return type(spec).__name__ == "UnknownArgument"

"""All copies and all comparisons of a step's variables in one call each: eagerly one variable costs half a millisecond.

The functions are written down as FunctionDefs, since to trace them takes seconds for some hundred variables. They hold
no variable; handles are their arguments. Seen on TensorFlow 2.19 to 2.21.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from introspect.capture.measurement.instrument import DOUBLE, add_node
from introspect.capture.measurement.shadow import Library, run_function, unique_suffix
from introspect.capture.measurement.statistics import SAFE, Statistics

RESOURCE = 20
"""DT_RESOURCE."""

BOOL = 10
"""DT_BOOL."""


def start_function(name: str, arguments: int) -> Any:
    """A FunctionDef that takes so many resource handles, h0, h1 …"""
    from tensorflow.core.framework import function_pb2

    made = function_pb2.FunctionDef()
    made.signature.name = f"introspect_{name}{unique_suffix()}"
    for i in range(arguments):
        made.signature.input_arg.add(name=f"h{i}", type=RESOURCE)
    return made


def add_output(function: Any, name: str, kind: int, tensor: str) -> None:
    function.signature.output_arg.add(name=name, type=kind)
    function.ret[name] = tensor


def add_read(function: Any, place: int, variable: Any) -> str:
    """The value behind an argument."""
    node = add_node(function, "ReadVariableOp", f"read{place}", (f"h{place}",))
    node.attr["dtype"].type = variable.dtype.as_datatype_enum
    node.device = variable.handle.device
    return f"{node.name}:value:0"


def add_questions(function: Any, variables: Sequence[Any]) -> None:
    """One output more: for each variable whether it is initialized. One that is not may be read all the same, as an empty tensor."""
    asked = []
    for place, variable in enumerate(variables):
        node = add_node(function, "VarIsInitializedOp", f"made{place}", (f"h{place}",))
        node.device = variable.handle.device
        asked.append(f"{node.name}:is_initialized:0")
    pack = add_node(function, "Pack", "made", asked)
    pack.attr["T"].type, pack.attr["N"].i, pack.device = BOOL, len(asked), "/device:CPU:0"
    add_output(function, "made", BOOL, f"{pack.name}:output:0")


class Copier:
    """Copies variables of these dtypes, shapes and devices, each into an anonymous one on its device."""

    def __init__(self, variables: Sequence[Any], library: Library) -> None:
        function = start_function("copy", len(variables))
        for place, variable in enumerate(variables):
            self._add_copy(function, place, variable)
        if variables:
            add_questions(function, variables)
        self._name = function.signature.name
        library.add([function])

    @staticmethod
    def _add_copy(function: Any, place: int, variable: Any) -> None:
        from tensorflow.python.eager import context

        dtype, device = variable.dtype.as_datatype_enum, variable.handle.device
        made = add_node(function, "VarHandleOp", f"copy{place}", ())
        made.attr["dtype"].type = dtype
        made.attr["shape"].shape.CopyFrom(variable.shape.as_proto())
        made.attr["container"].s = b""
        made.attr["shared_name"].s = context.anonymous_name().encode()
        handle = f"{made.name}:resource:0"
        write = add_node(function, "AssignVariableOp", f"write{place}", (handle, add_read(function, place, variable)))
        write.attr["dtype"].type = dtype
        write.attr["validate_shape"].b = False
        made.device = write.device = device
        add_output(function, f"handle{place}", RESOURCE, handle)
        function.control_ret[write.name] = write.name
        function.signature.control_output.append(write.name)

    def copy(self, variables: Sequence[Any]) -> list[Any] | None:
        """Handles of the copies, freed when nobody holds them; None where a variable is not initialized."""
        import tensorflow as tf

        handles = [variable.handle for variable in variables]
        if not handles:
            return []
        try:
            *copies, made = run_function(self._name, handles, len(handles) + 1)
        except tf.errors.FailedPreconditionError:
            return None
        return copies if made.numpy().all() else None


@dataclass(frozen=True)
class _Group:
    """Variables whose numbers come to the host together: those of one device and precision."""

    device: str
    dtype: int
    places: list[int]


class Differ:
    """For variables of these dtypes and devices: the norm of each, and of what changed in a copy of it."""

    def __init__(self, variables: Sequence[Any], library: Library) -> None:
        """Variables that are no float16, bfloat16, float32 or float64 are left out."""
        self._groups = list(group_floats(variables))
        self._name = ""
        if self._groups:
            function = start_function("differ", 2 * len(variables))
            for number, group in enumerate(self._groups):
                self._add_group(function, number, group, variables)
            self._name = function.signature.name
            library.add([function])

    def _add_group(self, function: Any, number: int, group: _Group, variables: Sequence[Any]) -> None:
        halves: list[str] = []
        for place in group.places:
            before, after = (add_wide(function, at, variables[place], group) for at in (place, place + len(variables)))
            change = add_node(function, "Sub", f"change{place}", (after, before))
            change.attr["T"].type, change.device = group.dtype, group.device
            for name, value in ((f"own{place}", before), (f"changed{place}", f"{change.name}:z:0")):
                half = add_node(function, "L2Loss", name, (value,))
                half.attr["T"].type, half.device = group.dtype, group.device
                halves.append(f"{name}:output:0")
        pack = add_node(function, "Pack", f"pack{number}", halves)
        pack.attr["T"].type, pack.attr["N"].i, pack.device = group.dtype, len(halves), group.device
        cast = add_cast(function, f"numbers{number}", f"{pack.name}:output:0", (group.dtype, DOUBLE), group.device)
        add_output(function, f"group{number}", DOUBLE, cast)

    def compare(self, before: Sequence[Any], after: Sequence[Any]) -> dict[int, tuple[Statistics, Statistics]]:
        """(norm before, norm of the change) by place in `variables`; handles as there.

        Missing: what is no float, and what needs a closer look (nothing changed, very small, very large, not finite).
        """
        if not self._groups:
            return {}
        results = run_function(self._name, [*before, *after], len(self._groups))
        found = {}
        for group, result in zip(self._groups, results, strict=True):
            for place, (own, changed) in zip(group.places, result.numpy().reshape(-1, 2).tolist(), strict=True):
                if all(SAFE[0] < half < SAFE[1] for half in (own, changed)):
                    found[place] = read_half(own), read_half(changed)
        return found


def group_floats(variables: Sequence[Any]) -> list[_Group]:
    """Places of floating point variables, by device and by the precision that they are compared in."""
    import tensorflow as tf

    wide = {tf.float16: tf.float32, tf.bfloat16: tf.float32, tf.float32: tf.float32, tf.float64: tf.float64}
    found: dict[tuple[str, int], list[int]] = {}
    for place, variable in enumerate(variables):
        if variable.dtype in wide:
            found.setdefault((variable.handle.device, wide[variable.dtype].as_datatype_enum), []).append(place)
    return [_Group(*key, places) for key, places in found.items()]


def add_wide(function: Any, place: int, variable: Any, group: _Group) -> str:
    """The value behind an argument in the group's precision."""
    value, dtype = add_read(function, place, variable), variable.dtype.as_datatype_enum
    if dtype == group.dtype:
        return value
    return add_cast(function, f"wide{place}", value, (dtype, group.dtype), group.device)


def add_cast(function: Any, name: str, value: str, kinds: tuple[int, int], device: str) -> str:
    node = add_node(function, "Cast", name, (value,))
    node.attr["SrcT"].type, node.attr["DstT"].type = kinds
    node.device = device
    return f"{name}:y:0"


def read_half(half: float) -> Statistics:
    """Of half a sum of squares."""
    return Statistics(math.sqrt(2 * half), 0.0, True)


__all__ = ["Copier", "Differ"]

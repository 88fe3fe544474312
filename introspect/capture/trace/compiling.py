"""What XLA refuses of a step that has not run yet. TensorFlow itself is asked to lower it; nothing of it is run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from introspect.capture.probe import LiveProbe
from introspect.capture.record import StepFailure
from introspect.capture.trace.batch import BATCH, OPEN_SIZE
from introspect.capture.trace.clusters import Cluster, list_clusters, list_devices
from introspect.devices import shorten_device
from introspect.records import Location

UNSUPPORTED = re.compile(r"Detected unsupported operations when trying to compile graph \S+ on \w+: (.+?)(?:\n|$)")
OPEN_SHAPE = re.compile(r"Input \d+ to node `(\S+)` with op (\w+) must be a compile-time constant")
OPEN_LIST = "XLA compilation requires a fixed tensor list size"
ELSEWHERE = re.compile(
    r"Trying to access resource (\S+) (?:\(defined @ (.+?):(\d+)\) )?located in device (\S+) from device (\S+)"
)
OP = re.compile(r"(\w+) \([^()]*(?:\([^()]*\)[^()]*)*\)\s*\{\{node (\S+?)\}\}")
NODE = re.compile(r"\{\{node (\S+?)\}\}")


class CannotAskError(Exception):
    """The cluster takes something that no value is known for."""


def find_refusal(concrete: Any, kept: Iterable[Any] = ()) -> StepFailure | None:
    """What the step's first run raises because XLA cannot compile a cluster of it; None also where that is not known.

    Of what TensorFlow says only refusals that hold for any batch count. `kept` is what the graphs need alive.
    """
    probe = LiveProbe(concrete.graph, kept)
    asked: set[tuple[Any, ...]] = set()
    for cluster in list_clusters(concrete):
        graph = probe.graph(cluster.function) or probe.root
        kind = (frozenset(op.type for op in graph.get_operations()), cluster.device, frozenset(list_devices(cluster)))
        if kind in asked:
            continue
        asked.add(kind)
        failure = explain_refusal(ask_xla(cluster), probe, cluster)
        if failure is not None:
            return failure
    return None


def choose_device(cluster: Cluster) -> str:
    """Where the cluster will run: as its call says, else on the first accelerator, else on the host.

    Raises:
        CannotAskError: what it takes lives on the host alone, or on another accelerator, which may draw it there.
    """
    import tensorflow as tf

    devices = [write_whole(device.name) for device in tf.config.list_logical_devices()]
    others = [name for name in devices if "/device:GPU:" in name]
    if cluster.device:
        return write_whole(cluster.device, devices[0])
    if not others:
        return devices[0]
    homes = set(list_devices(cluster))
    if (homes and others[0] not in homes) or homes.intersection(others[1:]):
        raise CannotAskError
    return others[0]


def write_whole(device: str, base: str = "/job:localhost/replica:0/task:0") -> str:
    """A device's name with the parts of `base` that it leaves out."""
    import tensorflow as tf

    return str(tf.DeviceSpec.from_string(base).make_merged_spec(tf.DeviceSpec.from_string(device)).to_string())


def ask_xla(cluster: Cluster) -> str:
    """What TensorFlow says when it lowers the cluster; "" where it does, or cannot be asked.

    It is asked for any batch, and where it wants a value for a shape for one of zeros: what it is fed it may take as that.
    """
    try:
        device = choose_device(cluster)
        specs, captured = split_arguments(cluster)
    except CannotAskError:
        return ""
    said = lower(cluster.function, device, specs, captured)
    return lower(cluster.function, device, list(map(make_zeros, specs)), captured) if OPEN_SHAPE.search(said) else said


def lower(function: str, device: str, fed: list[Any], captured: list[Any]) -> str:
    """The error of lowering a function for specs or values; "" where there is none. Seen on TensorFlow 2.19 to 2.21.

    It reads the types of variables, and neither their values nor random numbers.
    """
    from tensorflow.python.eager import context

    try:
        context.context().get_compiler_ir(
            device_name=device,
            platform_name=None,
            function_name=function,
            flat_args=fed,
            captured_inputs=captured,
            stage="hlo",
        )
    except Exception as error:  # whatever it is, only what is known word for word counts
        return str(error)
    return ""


def split_arguments(cluster: Cluster) -> tuple[list[Any], list[Any]]:
    """(specs of what comes before the first captured value, values of it and of all that follows).

    Raises:
        CannotAskError: a resource among them is none of the captured ones, or a shape is open.
    """
    first = next((place for place, value in enumerate(cluster.values) if value is not None), len(cluster.values))
    specs = [close_spec(tensor) for tensor in cluster.tensors[:first]]
    rest = zip(cluster.tensors[first:], cluster.values[first:], strict=True)
    return specs, [make_zeros(close_spec(tensor)) if value is None else value for tensor, value in rest]


def close_spec(tensor: Any) -> Any:
    """The type of a tensor, with sizes in place of the open ones."""
    import tensorflow as tf

    if tensor.dtype in (tf.resource, tf.variant) or tensor.shape.rank is None:
        raise CannotAskError
    sizes = [BATCH, *[OPEN_SIZE] * tensor.shape.rank]
    shape = [sizes[place] if size is None else size for place, size in enumerate(tensor.shape.as_list())]
    return tf.TensorSpec(shape, tensor.dtype)


def make_zeros(spec: Any) -> Any:
    """Zeros of a type, on the host."""
    import numpy as np
    import tensorflow as tf

    with tf.device("/CPU:0"):
        return tf.constant(np.zeros(spec.shape, spec.dtype.as_numpy_dtype), spec.dtype)


def explain_refusal(said: str, probe: LiveProbe, cluster: Cluster) -> StepFailure | None:
    """The failure that a refusal foretells; None for one that another batch may not meet."""
    if found := UNSUPPORTED.search(said):
        ops = OP.findall(found[1]) or [(found[1].partition(" ")[0], node) for node in NODE.findall(found[1])[:1]]
        kinds = ", ".join(dict.fromkeys(kind for kind, _ in ops))
        return StepFailure("xla", f"it cannot compile {kinds}", location=locate(ops, probe, cluster))
    if found := OPEN_SHAPE.search(said):
        message = f"it cannot compile {found[2]}, whose size depends on values"
        return StepFailure("xla", message, location=locate([(found[2], found[1])], probe, cluster))
    if OPEN_LIST in said:
        ops = [("", node) for node in NODE.findall(said)]
        message = "it cannot compile the gradient of a while loop that names no maximum_iterations"
        return StepFailure("xla-open-loop", message, location=locate(ops, probe, cluster))
    if found := ELSEWHERE.search(said):
        name, file, line, home, device = found.groups()
        location = None if file is None else Location(file, int(line), "")
        message = f"the step runs on {shorten_device(device)} and cannot reach {name} on {shorten_device(home)}"
        return StepFailure("xla-elsewhere", message, location=location)
    return None


def locate(ops: Sequence[tuple[str, str]], probe: LiveProbe, cluster: Cluster) -> Location | None:
    """The user's line that made the first of the ops that has one; a gradient's list has that of the loop that fills it."""
    inner = probe.graph(cluster.function)
    function, graph = ("", probe.root) if inner is None else (cluster.function, inner)
    names = [name for _, node in ops for name in (node, *list_consumers(graph, node))]
    found = (probe.location(function, name) for name in names)
    return next((location for location in found if location is not None), None)


def list_consumers(graph: Any, node: str) -> list[str]:
    """Names of the ops that take what a node yields."""
    try:
        op = graph.get_operation_by_name(node)
    except (KeyError, ValueError):
        return []
    return [str(consumer.name) for output in op.outputs for consumer in output.consumers()]

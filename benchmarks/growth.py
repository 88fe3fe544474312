"""How the analysis grows from 10^3 to 10^6 nodes: a chain of layers written out, and blocks called again and again.

No TensorFlow: the graphs are made here, with a forward pass, a backward pass under the tape's scope, and one update
for each variable: plain gradient descent, 6 nodes a variable, or Adam with its slots, 27 (Keras 3 writes 15 and 50 to 70
for dense layers, so that the first is as hard as can be). Each size runs in a process of its own, so that its peak memory
is its own.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timing import peak_memory, run_alone, show

if TYPE_CHECKING:
    from introspect.capture.record import Capture, CapturedVariable, Role

SIZES = (1_000, 10_000, 100_000, 1_000_000)
CALLS = 10
RUNS = 5
KINDS = {"descent": "gradient descent", "adam": "Adam", "blocks": f"gradient descent, blocks called {CALLS} times"}
NODES = {"descent": 6, "adam": 27, "blocks": 6}
"""Of each layer, which has one variable."""
SLOTS = ("m", "v")

ADAM = """
adam{i}/rate Const
adam{i}/beta1 Const
adam{i}/beta2 Const
adam{i}/small Const
adam{i}/m_read ReadVariableOp m{i}
adam{i}/m_diff Sub {gradient} adam{i}/m_read
adam{i}/m_part Mul adam{i}/m_diff adam{i}/beta1
adam{i}/m_update AssignAddVariableOp m{i} adam{i}/m_part
adam{i}/v_read ReadVariableOp v{i}
adam{i}/square Square {gradient}
adam{i}/v_diff Sub adam{i}/square adam{i}/v_read
adam{i}/v_part Mul adam{i}/v_diff adam{i}/beta2
adam{i}/v_update AssignAddVariableOp v{i} adam{i}/v_part
adam{i}/m_new ReadVariableOp m{i} ^adam{i}/m_update
adam{i}/v_new ReadVariableOp v{i} ^adam{i}/v_update
adam{i}/root Sqrt adam{i}/v_new
adam{i}/added AddV2 adam{i}/root adam{i}/small
adam{i}/whole RealDiv adam{i}/m_new adam{i}/added
adam{i}/scaled Mul adam{i}/whole adam{i}/rate
adam{i}/update AssignSubVariableOp w{i} adam{i}/scaled
"""
"""One variable's update: name, op and inputs of each node."""


def count_layers(nodes: int, kind: str) -> int:
    return max(nodes // NODES[kind], 1)


class GraphWriter:
    """A GraphDef that is written node by node."""

    def __init__(self) -> None:
        from tensorboard.compat.proto import graph_pb2

        self.graph = graph_pb2.GraphDef()

    def add(self, name: str, op: str, *inputs: str) -> str:
        """A node of floats; returns its name."""
        node = self.graph.node.add()
        node.name, node.op = name, op
        node.input.extend(inputs)
        node.attr["T"].type = 1
        return name

    def update(self, i: int, gradient: str, adam: bool) -> None:
        """The update of one variable."""
        if not adam:
            self.add(f"update{i}", "AssignSubVariableOp", f"w{i}", gradient, f"^l{i}/read")
            return
        for slot in SLOTS:
            self.add(f"{slot}{i}", "Placeholder")
        for line in ADAM.strip().format(i=i, gradient=gradient).splitlines():
            self.add(*line.split())


def make_graph(nodes: int, kind: str) -> bytes:
    """A serialized step of about that many nodes; blocks are a function that is called again and again."""
    writer = GraphWriter()
    layers = count_layers(nodes, kind)
    values = [writer.add("x", "Placeholder")]
    for i in range(layers):
        writer.add(f"w{i}", "Placeholder")
        read = writer.add(f"l{i}/read", "ReadVariableOp", f"w{i}")
        values.append(writer.add(f"l{i}/mul", "MatMul", values[i], read))
    flowing = writer.add("ones", "Const")
    for i in reversed(range(layers)):
        gradient = writer.add(f"gradient_tape/l{i}/dw", "MatMul", values[i], flowing)
        flowing = writer.add(f"gradient_tape/l{i}/dx", "MatMul", flowing, f"l{i}/read")
        writer.update(i, gradient, kind == "adam")
    writer.add("loss", "Identity", values[-1])
    return bytes((repeat(writer.graph, layers) if kind == "blocks" else writer.graph).SerializeToString())


def make_capture(nodes: int, kind: str, graph: bytes) -> Capture:
    """The capture of such a step."""
    from introspect.capture.record import Binding, Capture, CapturedOptimizer, CapturedSlot, CapturedTrace
    from introspect.records import Environment, ModelSummary

    layers = count_layers(nodes, kind)
    slots = SLOTS if kind == "adam" else ()
    names = [f"{letter}{i}" for letter in ("w", *slots) for i in range(layers)]
    books = tuple(
        CapturedSlot(i, layers * place + i, slot) for place, slot in enumerate(slots, 1) for i in range(layers)
    )
    held = tuple(range(layers, len(names)))
    optimizer = CapturedOptimizer("optimizer", kind, 0.1, True, tuple(range(layers)), held, books, True)
    trace = CapturedTrace(
        id="fit/1",
        caller="fit",
        signature="",
        graph=graph,
        bindings=tuple(Binding(name, index) for index, name in enumerate(names)),
        outputs=() if kind == "blocks" else ("loss:0",),
        current=True,
        source="compiled",
    )
    return Capture(
        model=ModelSummary("m", "Model", "keras", True, True, False, False, 1),
        environment=Environment("", None, None, "", ()),
        variables=tuple(make_variable(name) for name in names),
        layers=(),
        optimizers=(optimizer,),
        traces=(trace,),
        source="compiled",
        probes=(None,),
    )


def make_variable(name: str) -> CapturedVariable:
    """A weight, or a slot."""
    from introspect.capture.record import CapturedVariable

    own = name.startswith("w")
    role: Role = "model" if own else "optimizer"
    return CapturedVariable(name, (2, 2), "float32", role, own, own, own, "/device:CPU:0")


def repeat(graph: Any, layers: int) -> Any:
    """The same program as a function that the step calls again and again."""
    from tensorboard.compat.proto import graph_pb2

    whole = graph_pb2.GraphDef()
    function = whole.library.function.add()
    function.signature.name = "block"
    names = ["x"] + [f"w{i}" for i in range(layers)]
    for name in names:
        function.signature.input_arg.add().name = name
        node = whole.node.add()
        node.name, node.op = name, "Placeholder"
    for node in graph.node:
        if node.op == "Placeholder":
            continue
        copy = function.node_def.add()
        copy.name, copy.op = node.name, node.op
        copy.input.extend(i if i[0] == "^" or i in names else f"{i}:o:0" for i in node.input)
    for i in range(CALLS):
        node = whole.node.add()
        node.name, node.op = f"call{i}", "StatefulPartitionedCall"
        node.attr["f"].func.name = "block"
        node.input.extend(names)
        if i:
            node.input.append(f"^call{i - 1}")
    return whole


def measure(path: str, nodes: int, kind: str) -> None:
    """Analyse a step from a file; the memory is that of Python, numpy, the capture, the analysis and its report."""
    from introspect.diagnosis import diagnose

    capture = make_capture(shrink(nodes, kind), kind, Path(path).read_bytes())
    seconds = []
    for _ in range(1 if nodes == SIZES[-1] else RUNS):
        started = time.perf_counter()
        report = diagnose(capture)
        seconds.append(time.perf_counter() - started)
    assert report.ok
    assert all(row.updated == "yes" for row in report.variables)
    aim = "< 10 s, < 1024 MiB" if nodes == SIZES[-1] else ""
    median = statistics.median(seconds)
    rate = f"{nodes / median / 1e3:.0f} thousand nodes/s"
    show(f"analysis of {nodes:,} nodes, {KINDS[kind]}", f"{median:.2f} s, {rate}, peak {peak_memory()} MiB", aim)


def prepare(path: str, nodes: int, kind: str) -> None:
    """Write a step to a file; in a process of its own, as making a graph takes much memory too."""
    Path(path).write_bytes(make_graph(shrink(nodes, kind), kind))


def shrink(nodes: int, kind: str) -> int:
    """How many nodes are written down."""
    return nodes // CALLS if kind == "blocks" else nodes


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/step.pb"
        for kind in KINDS:
            for size in SIZES:
                run_alone(__file__, "prepare", path, str(size), kind)
                run_alone(__file__, "measure", path, str(size), kind)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        {"prepare": prepare, "measure": measure}[sys.argv[1]](sys.argv[2], int(sys.argv[3]), sys.argv[4])
    else:
        main()

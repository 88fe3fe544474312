"""How the analysis grows from 10^3 to 10^6 nodes: a chain of layers written out, and blocks called again and again.

No TensorFlow: the graphs are made here, with a forward pass, a backward pass under the tape's scope, and one update
for each variable. Each size runs in a process of its own, so that its peak memory is its own.
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
    from introspect.capture.record import Capture

SIZES = (1_000, 10_000, 100_000, 1_000_000)
CALLS = 10
RUNS = 5


def count_layers(nodes: int) -> int:
    return max(nodes // 6, 1)


def make_graph(nodes: int, blocks: bool) -> bytes:
    """A serialized step of about that many nodes; with `blocks`, a function of them that is called again and again."""
    from tensorboard.compat.proto import graph_pb2

    graph = graph_pb2.GraphDef()
    layers = count_layers(nodes)

    def add(name: str, op: str, *inputs: str) -> None:
        node = graph.node.add()
        node.name, node.op = name, op
        node.input.extend(inputs)

    add("x", "Placeholder")
    add("lr", "Const")
    last = "x"
    for i in range(layers):
        add(f"w{i}", "Placeholder")
        add(f"l{i}/read", "ReadVariableOp", f"w{i}")
        add(f"l{i}/mul", "MatMul", last, f"l{i}/read")
        last = f"l{i}/mul"
    add("ones", "Const")
    flowing = "ones"
    for i in reversed(range(layers)):
        add(f"gradient_tape/l{i}/dw", "MatMul", f"l{i}/mul", flowing)
        add(f"gradient_tape/l{i}/dx", "MatMul", flowing, f"l{i}/read")
        add(f"update{i}", "AssignSubVariableOp", f"w{i}", f"gradient_tape/l{i}/dw", f"^l{i}/read")
        flowing = f"gradient_tape/l{i}/dx"
    add("loss", "Identity", last)
    return bytes((repeat(graph, layers) if blocks else graph).SerializeToString())


def make_capture(nodes: int, blocks: bool, graph: bytes | None = None) -> Capture:
    """The capture of such a step."""
    from introspect.capture.record import Binding, Capture, CapturedTrace, CapturedVariable
    from introspect.records import Environment, ModelSummary

    layers = count_layers(nodes)
    variables = tuple(
        CapturedVariable(f"layer{i}/kernel", (2, 2), "float32", "model", True, True, True, "/device:CPU:0")
        for i in range(layers)
    )
    trace = CapturedTrace(
        id="fit/1",
        caller="fit",
        signature="",
        graph=make_graph(nodes, blocks) if graph is None else graph,
        bindings=tuple(Binding(f"w{i}", i) for i in range(layers)),
        outputs=() if blocks else ("loss:0",),
        control_outputs=(),
        current=True,
        source="compiled",
    )
    return Capture(
        model=ModelSummary("m", "Model", "keras", True, True, False, False, 1),
        environment=Environment("", None, None, "", ()),
        variables=variables,
        layers=(),
        optimizers=(),
        traces=(trace,),
        source="compiled",
        probes=(None,),
    )


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


def measure(path: str, nodes: int, blocks: bool) -> None:
    """Analyse a step from a file; the memory is that of Python, numpy, the capture, the analysis and its report."""
    from introspect.diagnosis import diagnose

    capture = make_capture(shrink(nodes, blocks), blocks, Path(path).read_bytes())
    seconds = []
    for _ in range(1 if nodes == SIZES[-1] else RUNS):
        started = time.perf_counter()
        report = diagnose(capture)
        seconds.append(time.perf_counter() - started)
    assert report.ok
    assert all(row.updated == "yes" for row in report.variables)
    kind = f"blocks called {CALLS} times" if blocks else "written out"
    aim = "< 10 s, < 1024 MiB" if nodes == SIZES[-1] else ""
    median = statistics.median(seconds)
    rate = f"{nodes / median / 1e3:.0f} thousand nodes/s"
    show(f"analysis of {nodes:,} nodes, {kind}", f"{median:.2f} s, {rate}, peak {peak_memory()} MiB", aim)


def prepare(path: str, nodes: int, blocks: bool) -> None:
    """Write a step to a file; in a process of its own, as making a graph takes much memory too."""
    Path(path).write_bytes(make_graph(shrink(nodes, blocks), blocks))


def shrink(nodes: int, blocks: bool) -> int:
    """How many nodes are written down."""
    return nodes // CALLS if blocks else nodes


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/step.pb"
        for blocks in ("", "blocks"):
            for size in SIZES:
                run_alone(__file__, "prepare", path, str(size), blocks)
                run_alone(__file__, "measure", path, str(size), blocks)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        {"prepare": prepare, "measure": measure}[sys.argv[1]](sys.argv[2], int(sys.argv[3]), bool(sys.argv[4]))
    else:
        main()

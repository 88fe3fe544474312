"""How the analysis grows from 10^3 to 10^6 nodes: a chain of layers written out, and blocks called again and again.

No TensorFlow: the graphs are made here, with a forward pass, a backward pass under the tape's scope, and one update
for each variable. Each size runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import subprocess
import sys
import time

from timing import peak_memory, show

SIZES = (1_000, 10_000, 100_000, 1_000_000)
CALLS = 10


def make_capture(nodes: int, blocks: bool) -> object:
    from tensorboard.compat.proto import graph_pb2

    from introspect.capture.record import Binding, Capture, CapturedTrace, CapturedVariable
    from introspect.records import Environment, ModelSummary

    graph = graph_pb2.GraphDef()
    layers = max(nodes // 6, 1)

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
    if blocks:
        graph = repeat(graph, layers)
    variables = tuple(
        CapturedVariable(f"layer{i}/kernel", (2, 2), "float32", "model", True, True, True, "/device:CPU:0")
        for i in range(layers)
    )
    trace = CapturedTrace(
        id="fit/1",
        caller="fit",
        signature="",
        graph=graph.SerializeToString(),
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


def repeat(graph: object, layers: int) -> object:
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
    for node in graph.node:  # type: ignore[attr-defined]
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


def measure(nodes: int, blocks: bool) -> None:
    from introspect.diagnosis import diagnose

    capture = make_capture(nodes // CALLS if blocks else nodes, blocks)
    started = time.perf_counter()
    report = diagnose(capture)  # type: ignore[arg-type]
    seconds = time.perf_counter() - started
    assert report.ok
    assert all(row.updated == "yes" for row in report.variables)
    kind = "blocks called ten times" if blocks else "written out"
    aim = "< 10 s, < 1024 MiB" if nodes == SIZES[-1] else ""
    rate = f"{nodes / seconds / 1e6:.2f} million nodes/s"
    show(f"analysis of {nodes:,} nodes, {kind}", f"{seconds:.2f} s, {rate}, peak {peak_memory()} MiB", aim)


def main() -> None:
    for blocks in ("", "blocks"):
        for size in SIZES:
            subprocess.run([sys.executable, __file__, str(size), blocks], check=True)


if __name__ == "__main__":
    measure(int(sys.argv[1]), bool(sys.argv[2])) if len(sys.argv) > 1 else main()

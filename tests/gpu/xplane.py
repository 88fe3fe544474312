"""Which ops had kernels on a GPU, by TensorFlow's profiler."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

OP_STATS = ("tf_op", "kernel_annotation")
"""Stats of a kernel's event that name the op that launched it, the plainer first."""


def read_kernels(folder: str | Path) -> set[str]:
    """Names of the ops that the traces in a folder show kernels or copies of, on any GPU."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    found: set[str] = set()
    for path in sorted(Path(folder).rglob("*.xplane.pb")):
        found.update(list_ops(xplane_pb2.XSpace.FromString(path.read_bytes())))
    return found


def list_ops(space: Any) -> Iterator[str]:
    """Names of ops with events on the planes of GPUs."""
    for plane in space.planes:
        if plane.name.startswith("/device:GPU"):
            for event in (event for line in plane.lines for event in line.events):
                stats = {plane.stat_metadata[stat.metadata_id].name: read_text(plane, stat) for stat in event.stats}
                annotation = next((stats[name] for name in OP_STATS if stats.get(name)), None)
                if annotation is not None:
                    yield name_op(annotation)


def read_text(plane: Any, stat: Any) -> str:
    """A stat's text, which stands in it or in the plane's table."""
    return str(plane.stat_metadata[stat.ref_value].name if stat.ref_value else stat.str_value)


def name_op(annotation: str) -> str:
    """The innermost op's name of `outer:Type::name:Type#more#`."""
    return annotation.rpartition("::")[2].partition("#")[0].partition(":")[0]

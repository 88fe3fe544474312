"""The reader of profiles, on one made by hand in the form that TensorFlow's profiler writes; needs no GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.tf


def make_space() -> Any:
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace()
    for name in ("/host:CPU", "/device:GPU:0"):
        plane = space.planes.add(name=name)
        texts = ["tf_op", "kernel_annotation", "step/adam/AssignSubVariableOp:AssignSubVariableOp"]
        for number, text in enumerate(texts, 1):
            plane.stat_metadata[number].id, plane.stat_metadata[number].name = number, text
        line = plane.lines.add()
        line.events.add().stats.add(metadata_id=1, ref_value=3)
        line.events.add().stats.add(metadata_id=2, str_value=f"outer:Call::{name[1:4]}/MatMul:MatMul#id=3#")
        line.events.add()
    return space


def test_ops_of_gpu_planes_only(tmp_path: Path) -> None:
    from tests.gpu.xplane import read_kernels

    (tmp_path / "one.xplane.pb").write_bytes(make_space().SerializeToString())
    assert read_kernels(tmp_path) == {"step/adam/AssignSubVariableOp", "dev/MatMul"}


def test_no_profile(tmp_path: Path) -> None:
    from tests.gpu.xplane import read_kernels

    assert read_kernels(tmp_path) == set()

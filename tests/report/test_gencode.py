"""report_pb2.py is what report.proto says, and of the oldest protobuf that is supported."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import introspect

ROOT = Path(introspect.__file__).parent.parent
PROTO = "introspect/report/report.proto"
OLDEST = (6, 31, 1)


def test_the_gencode_is_of_the_oldest_runtime() -> None:
    text = (ROOT / PROTO.replace(".proto", "_pb2.py")).read_text()
    found = re.search(r"Protobuf Python Version: (\d+)\.(\d+)\.(\d+)", text)
    assert found is not None
    assert tuple(map(int, found.groups())) == OLDEST, "generate report_pb2.py as report.proto says"


def test_the_gencode_is_up_to_date(tmp_path: Path) -> None:
    grpc_tools = pytest.importorskip("grpc_tools", reason="needs grpcio-tools==1.74.0 (see report.proto)")
    from importlib.metadata import version

    if version("grpcio-tools") != "1.74.0":
        pytest.skip(f"{grpc_tools.__name__} {version('grpcio-tools')} writes another header; needs 1.74.0")
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", ".", "--python_out", str(tmp_path), PROTO]
    subprocess.run(command, cwd=ROOT, check=True)
    made = (tmp_path / PROTO.replace(".proto", "_pb2.py")).read_text()
    assert made == (ROOT / PROTO.replace(".proto", "_pb2.py")).read_text()

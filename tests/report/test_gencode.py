"""report_pb2.py is what report.proto says, and of the oldest protobuf that is supported."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import introspect

ROOT = Path(introspect.__file__).parent.parent
PROTO = "introspect/report/report.proto"
OLDEST = (5, 29, 0)


def test_the_gencode_is_of_the_oldest_runtime() -> None:
    text = (ROOT / PROTO.replace(".proto", "_pb2.py")).read_text()
    found = re.search(r"Protobuf Python Version: (\d+)\.(\d+)\.(\d+)", text)
    assert found is not None
    assert tuple(map(int, found.groups())) == OLDEST, "generate report_pb2.py as report.proto says"


def test_the_gencode_is_up_to_date(tmp_path: Path) -> None:
    python = os.environ.get("PROTOC_PYTHON", sys.executable)
    asked = subprocess.run([python, "-m", "pip", "show", "grpcio-tools"], capture_output=True, text=True)
    if "Version: 1.71.0" not in asked.stdout:
        reason = "needs grpcio-tools==1.71.0 in the environment of PROTOC_PYTHON (tests/run makes it)"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    command = [python, "-m", "grpc_tools.protoc", "-I", ".", "--python_out", str(tmp_path), PROTO]
    subprocess.run(command, cwd=ROOT, check=True)
    made = (tmp_path / PROTO.replace(".proto", "_pb2.py")).read_text()
    assert made == (ROOT / PROTO.replace(".proto", "_pb2.py")).read_text()

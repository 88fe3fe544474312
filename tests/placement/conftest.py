"""Scenarios with a stand-in GPU or two CPU devices, each in a process of its own: a device cannot be unloaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import GPUS_WERE
from tests.fakegpu.build import NoCompilerError, build_fake_gpu

ROOT = Path(__file__).parents[2]
Run = Callable[..., Any]


@pytest.fixture(scope="session")
def fake_gpu() -> Path:
    """The stand-in GPU's library. Without a compiler: skipped, in CI failed."""
    try:
        return build_fake_gpu()
    except NoCompilerError as error:
        reason = str(error)
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


def show_gpus(environment: dict[str, str]) -> dict[str, str]:
    """The environment with the machine's GPUs as they were in sight before the tests hid them."""
    shown = {name: value for name, value in environment.items() if name != "CUDA_VISIBLE_DEVICES"}
    return shown if GPUS_WERE == "all" else {**shown, "CUDA_VISIBLE_DEVICES": GPUS_WERE}


def run_module(
    module: str,
    name: str,
    library: Path | None = None,
    gpus: int = 1,
    more: tuple[str, ...] = (),
    real: bool = False,
) -> Any:
    """What `python -m module name` prints as its last line."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "FAKE_GPU_COUNT": str(gpus)}
    for switch in ("INTROSPECT_FAKE_GPU", "INTROSPECT_REAL_GPU"):
        environment.pop(switch, None)
    if library is not None:
        environment["INTROSPECT_FAKE_GPU"] = str(library)
    if real:
        environment = {**show_gpus(environment), "INTROSPECT_REAL_GPU": "1"}
    command = [sys.executable, "-W", "ignore", "-m", module, name, *more]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])

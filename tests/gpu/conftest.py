"""Everything here needs a real GPU that TensorFlow sees; where there is none, the skip says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.placement.conftest import show_gpus

LIST = "import json, tensorflow as tf; print(json.dumps([d.name for d in tf.config.list_physical_devices('GPU')]))"


@pytest.fixture(scope="session")
def gpus() -> list[str]:
    """The machine's GPUs; asked in a process of its own, so that the tests' own TensorFlow keeps no memory there."""
    environment = show_gpus(dict(os.environ))
    done = subprocess.run([sys.executable, "-c", LIST], capture_output=True, text=True, timeout=300, env=environment)
    found: list[str] = json.loads(done.stdout.strip().splitlines()[-1]) if done.returncode == 0 else []
    if not found:
        pytest.skip("no real GPU: TensorFlow lists none on this machine")
    return found

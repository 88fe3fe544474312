"""Builds the stand-in GPU: a device of type GPU in host memory, with TensorFlow's own GPU kernels' placement rules."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from importlib.metadata import version
from pathlib import Path

SOURCE = Path(__file__).with_name("fakegpu.cc")


class NoCompilerError(Exception):
    """g++ is not there."""


def build_fake_gpu() -> Path:
    """Path of the shared library; built once for each source and TensorFlow, 15 to 30 seconds.

    Raises:
        NoCompilerError: there is no g++.
        RuntimeError: it does not compile.
    """
    key = hashlib.sha256(SOURCE.read_bytes() + version("tensorflow").encode()).hexdigest()[:16]
    cache = Path(os.environ.get("INTROSPECT_TEST_CACHE", tempfile.gettempdir())) / f"introspect-fakegpu-{os.getuid()}"
    library = cache / f"fakegpu-{key}.so"
    if not library.exists():
        cache.mkdir(parents=True, exist_ok=True)
        compile_library(library)
    return library


def compile_library(library: Path) -> None:
    """Compile to a file beside the target, then rename: two processes may build at once."""
    compiler = shutil.which("g++")
    if compiler is None:
        raise NoCompilerError("the stand-in GPU needs g++ (Debian: apt-get install g++)")
    spec = importlib.util.find_spec("tensorflow")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    root = Path(spec.submodule_search_locations[0])
    made = library.with_suffix(f".{os.getpid()}.so")
    flags = [
        "-O1",
        "-std=c++17",
        "-shared",
        "-fPIC",
        "-w",
        f"-I{root / 'include'}",
        "-D_GLIBCXX_USE_CXX11_ABI=1",
        "-DEIGEN_MAX_ALIGN_BYTES=64",
    ]
    links = [f"-L{root}", "-l:libtensorflow_framework.so.2", "-l:libtensorflow_cc.so.2"]
    command = [compiler, *flags, str(SOURCE), "-o", str(made), *links]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(
            f"the stand-in GPU does not compile for TensorFlow {version('tensorflow')}:\n{done.stderr[-2000:]}"
        )
    made.rename(library)

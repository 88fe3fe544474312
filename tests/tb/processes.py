"""A real `tensorboard` on the loopback, without TensorFlow, for tests that drive it from outside."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

START_SECONDS = 60
BLOCK = """
import sys
class _Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "keras", "tf_keras"):
            raise ImportError(f"{name} is blocked in this process")
sys.meta_path.insert(0, _Blocker())
"""


class TensorBoard:
    """A running process. `url` ends in a slash and holds the path prefix."""

    def __init__(self, process: subprocess.Popen[str], url: str, log: list[str]) -> None:
        self.process = process
        self.url = url
        self.log = log

    def fetch(self, path: str, method: str = "GET", **query: Any) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of `path`, relative to the process' root."""
        text = f"?{urlencode(query, doseq=True)}" if query else ""
        try:
            with urlopen(Request(f"{self.url}{path}{text}", method=method), timeout=30) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except HTTPError as error:
            return error.code, dict(error.headers), error.read()

    def ask(self, route: str, method: str = "GET", **query: Any) -> tuple[int, dict[str, str], bytes]:
        """The same of a route of the plugin."""
        return self.fetch(f"data/plugin/introspect/{route}", method, **query)

    def read(self, route: str, **query: Any) -> Any:
        """The JSON of a route's answer, which must be 200."""
        status, _, body = self.ask(route, **query)
        assert status == 200, body
        return json.loads(body)

    def wait(self, what: Callable[[], Any], seconds: float = 30) -> Any:
        """What becomes true within `seconds`."""
        until = time.monotonic() + seconds
        while not (found := what()):
            assert time.monotonic() < until, "\n".join(self.log[-20:])
            assert self.process.poll() is None, "\n".join(self.log[-20:])
            time.sleep(0.2)
        return found


@contextlib.contextmanager
def run_tensorboard(
    log_dir: Path, work_dir: Path, *options: str, python: str | Path = sys.executable
) -> Iterator[TensorBoard]:
    """Start `tensorboard --logdir log_dir` with these options, by the interpreter `python`, and end it.

    It runs in `work_dir`, so that nothing is imported from the repository unless it is installed.
    """
    (work_dir / "sitecustomize.py").write_text(BLOCK)
    path = os.pathsep.join(filter(None, [str(work_dir), os.environ.get("PYTHONPATH")]))
    command = [str(python), "-m", "tensorboard.main", "--logdir", str(log_dir), "--port", "0"]
    command += ["--host", "127.0.0.1", "--reload_interval", "1", *options]
    environment = {**os.environ, "PYTHONPATH": path, "TMPDIR": str(work_dir)}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=work_dir
    )
    log: list[str] = []
    try:
        url = _wait_for_url(process, log)
        yield TensorBoard(process, url, log)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_url(process: subprocess.Popen[str], log: list[str]) -> str:
    assert process.stdout is not None
    found: list[str] = []
    ready = threading.Event()

    def follow() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            log.append(line.rstrip())
            match = re.search(r"at (http://\S+) \(Press", line)
            if match:
                found.append(match.group(1))
                ready.set()
        ready.set()

    threading.Thread(target=follow, daemon=True).start()
    assert ready.wait(START_SECONDS), "\n".join(log)
    assert found, "\n".join(log)
    return found[0].rstrip("/") + "/"

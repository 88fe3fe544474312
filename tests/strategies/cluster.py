"""Real processes on loopback, each with its own TF_CONFIG: started together, bounded in time, always ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SERVERS = ("ps",)
"""Tasks that serve until they are ended; `worker` too where a chief coordinates."""
TAKEN = "Address already in use"


@dataclass(frozen=True)
class Task:
    """One process: its role and number in the cluster."""

    role: str
    index: int

    @property
    def name(self) -> str:
        """`worker1`."""
        return f"{self.role}{self.index}"


class ClusterError(AssertionError):
    """A process failed, or did not end in time; the message holds the end of each log."""


def run_cluster(
    module: str, roles: dict[str, int], folder: Path, *arguments: str, seconds: int = 400
) -> dict[str, Any]:
    """Run `python -m module arguments` once for each task.

    Args:
        module: prints one JSON value as its last line, unless its task serves.
        roles: how many tasks of each role; with a `chief`, workers serve.
        folder: for the logs.
        seconds: until all are killed, and the test fails.

    Returns:
        What each task printed, by its name.

    Raises:
        ClusterError: a process failed or took too long.
    """
    for _ in range(3):  # a free port may be taken by another before it is bound
        try:
            return _run_once(module, roles, folder, arguments, seconds)
        except ClusterError as error:
            if TAKEN not in str(error):
                raise
            last = error
    raise last


def _run_once(
    module: str, roles: dict[str, int], folder: Path, arguments: Sequence[str], seconds: int
) -> dict[str, Any]:
    tasks = [Task(role, index) for role, count in roles.items() for index in range(count)]
    addresses = iter(f"127.0.0.1:{port}" for port in find_ports(len(tasks)))
    cluster = {role: [next(addresses) for _ in range(count)] for role, count in roles.items()}
    asked = [task for task in tasks if task.role not in (*SERVERS, *(("worker",) if "chief" in roles else ()))]
    with ExitStack() as stack:
        running = {
            task: stack.enter_context(start_task(module, task, cluster, folder, arguments, seconds)) for task in tasks
        }
        fault = wait_for([running[task] for task in asked], seconds)
    if fault:
        raise ClusterError(fault + "".join(f"\n== {task.name}\n{read_end(folder, task)}" for task in tasks))
    return {task.name: json.loads((folder / f"{task.name}.out").read_text().splitlines()[-1]) for task in asked}


def find_ports(count: int) -> list[int]:
    """Ports that are free now, held at once so that they differ."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


@contextmanager
def start_task(
    module: str, task: Task, cluster: dict[str, list[str]], folder: Path, arguments: Sequence[str], seconds: int
) -> Iterator[subprocess.Popen[bytes]]:
    """A process of a session of its own, all of which is killed at the end, however that comes."""
    config = {"cluster": cluster, "task": {"type": task.role, "index": task.index}}
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TF_CONFIG": json.dumps(config),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
        "CLUSTER_SECONDS": str(seconds),
    }
    command = [sys.executable, "-m", module, *arguments]
    with (folder / f"{task.name}.out").open("wb") as out, (folder / f"{task.name}.err").open("wb") as err:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=out, stderr=err, stdin=subprocess.DEVNULL, start_new_session=True
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)


def wait_for(processes: list[subprocess.Popen[bytes]], seconds: int) -> str | None:
    """None once all have ended well; else what went wrong, at the first failure or when time is up."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        codes = [process.poll() for process in processes]
        if any(codes):
            return f"exit codes {codes}"
        if None not in codes:
            return None
        time.sleep(0.2)
    return f"not done after {seconds} s"


def read_end(folder: Path, task: Task) -> str:
    """The last lines of a log."""
    return (folder / f"{task.name}.err").read_text(errors="replace")[-3000:]


def bound_life() -> None:
    """Called first in each process: it says where it hangs and ends, though nobody is left to kill it."""
    import faulthandler

    faulthandler.dump_traceback_later(int(os.environ["CLUSTER_SECONDS"]), exit=True)


def read_task() -> Task:
    """This process's own task."""
    task = json.loads(os.environ["TF_CONFIG"])["task"]
    return Task(task["type"], task["index"])

"""Several real processes: what each worker, or the coordinator, says of the step, against what its next step does."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.strategies.cluster import run_cluster

pytestmark = [pytest.mark.tf, pytest.mark.slow]

WORKERS = {"worker": 2}
COORDINATED = {"chief": 1, "worker": 1, "ps": 2}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Run a play once: what each process printed, and the folder that it wrote to."""

    @cache
    def play(module: str, name: str) -> tuple[dict[str, Any], Path]:
        folder = tmp_path_factory.mktemp(name)
        roles = WORKERS if module == "workers" else COORDINATED
        return run_cluster(f"tests.strategies.{module}", roles, folder, name, str(folder)), folder

    return play


@pytest.mark.parametrize(
    ("module", "name", "situations"),
    [
        ("workers", "tf_keras", 8),
        ("workers", "keras", 5),
        ("coordinator", "tf_keras", 7),
        ("coordinator", "keras", 5),
        ("coordinator", "shards", 6),
    ],
)
def test_truth(run: Any, module: str, name: str, situations: int) -> None:
    """Each report is right, made by one process alone, and the other processes never waited for it."""
    told, _ = run(module, name)
    faults = {f"{task}: {where}": found for task, one in told.items() for where, found in one["faults"].items()}
    assert {where: found for where, found in faults.items() if found} == {}
    assert len(faults) == situations


def test_every_worker_reads_and_the_chief_writes(run: Any) -> None:
    """A frozen layer is told on both workers; one writes."""
    told, folder = run("workers", "tf_keras")
    for index in (0, 1):
        seen = told[f"worker{index}"]["seen"]
        assert seen["callback"]["strategy"] == "MultiWorkerMirroredStrategy"
        assert seen["callback"]["rules"] == ["INT101"]
        assert seen["callback"]["devices"] == [f"/job:worker/replica:0/task:{index}/device:CPU:0"]
    assert len(told["worker0"]["seen"]["own files"]) == 1
    assert told["worker1"]["seen"]["own files"] == []
    assert len(list((folder / "logs").rglob("*.introspect"))) == 1


def test_a_step_that_waits_for_others_is_not_measured(run: Any) -> None:
    """`measure` is declined with the reason; the rest of the report stands."""
    for module, task, strategy in (
        ("workers", "worker0", "MultiWorkerMirroredStrategy"),
        ("coordinator", "chief0", "ParameterServerStrategy"),
    ):
        seen = run(module, "tf_keras")[0][task]["seen"]
        limited = seen["measured" if module == "workers" else "the first trace again"]
        assert limited["rules"] == ["INT101", "INT506"]
        assert strategy in limited["causes"]["INT506"]


def test_the_trace_for_the_data(run: Any) -> None:
    """Data picks its trace, or a new one is made apart; a fix is tried on a copy."""
    for module, first, second in (("workers", "worker0", "worker1"), ("coordinator", "chief0", "chief0")):
        told, _ = run(module, "tf_keras")
        seen, other = told[first]["seen"], told[second]["seen"]
        assert seen["before the first fit"]["source"] == "traced"
        assert other["compiled"]["source"] == "compiled"
        assert seen["retraced"]["current"] == [False, True]
        assert other["fixed on a copy"]["verified"] == ["INT101"]
        assert seen["before the first fit"]["slots"] == other["compiled"]["slots"] == 12


def test_the_fix_of_a_loop(run: Any) -> None:
    """One process tries it by itself: a new optimizer, built for what is to train now, and a new trace."""
    for module, task in (("workers", "worker1"), ("coordinator", "chief0")):
        seen = run(module, "keras")[0][task]["seen"]
        assert seen["loop, fixed on a copy"]["verified"] == ["INT101", "INT103"], seen


def test_variables_lie_on_the_servers(run: Any) -> None:
    """The devices are the parameter servers', and a look takes no turn among them."""
    told, _ = run("coordinator", "tf_keras")
    seen = told["chief0"]["seen"]
    servers = [f"/job:ps/replica:0/task:{index}/device:CPU:0" for index in (0, 1)]
    assert seen["before the first fit"]["devices"] == seen["compiled"]["devices"] == servers
    assert seen["callback"]["rules"] == ["INT101"]
    assert len(seen["files"]) == 1


def test_shards_have_rows_and_slots(run: Any) -> None:
    """Keras lists each shard as a weight of its own."""
    seen = run("coordinator", "shards")[0]["chief0"]["seen"]
    for kind in ("new", "legacy"):
        assert seen[f"{kind}, compiled"]["updated"]["hid/kernel/part_1"] == "yes"
        assert seen[f"{kind}, compiled"]["updated"]["cold/kernel/part_0"] == "no"
        assert seen[f"{kind}, compiled"]["slots"] == seen[f"{kind}, before the first fit"]["slots"] == 14


def test_keras_3_fits_under_neither(run: Any) -> None:
    """Where `fit` of Keras 3 raises, the reason and the way out are told in one line."""
    several = run("workers", "keras")[0]["worker0"]["seen"]["refusal"]
    coordinated = run("coordinator", "keras")[0]["chief0"]["seen"]["refusal"]
    assert "Keras 3 cannot average numbers among workers" in several
    assert "ParameterServerStrategy, where fit() of Keras 3 raises" in coordinated
    for line in (several, coordinated):
        assert "tf_keras" in line
        assert "\n" not in line

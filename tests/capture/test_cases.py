"""Every case of the shared collection is captured whole and left as it was.

The collection stands beside the repository where the project is developed; elsewhere these tests are skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "cases"
CASES = sorted(path.stem for path in (FOLDER / "models").glob("*.py"))
SAMPLE = 12
"""Every so many-th case runs by default; all of them under the mark `slow`."""

pytestmark = [
    pytest.mark.tf,
    pytest.mark.skipif(not CASES, reason=f"no collection of cases at {FOLDER}"),
]

SCRIPT = """
import importlib.util, json, sys, warnings
warnings.simplefilter("ignore")
folder, name = sys.argv[1:]
sys.path.insert(0, folder)
import judge
spec = importlib.util.spec_from_file_location("case", f"{folder}/models/{name}.py")
case = importlib.util.module_from_spec(spec)
spec.loader.exec_module(case)
model, data = case.build()
acted = case.act(model, data)
if isinstance(acted, tuple):
    model, data = acted
from introspect.capture import capture_model
before = judge.marks(model)
capture = capture_model(model, None if hasattr(case, "next_fit") else data)
after = judge.marks(model)
rows = {row.path.replace(":0", ""): row for row in capture.variables}
wrong = []
for key, truth in case.TRUTH.items():
    row = rows.get(key.replace(":0", ""))
    tracked = truth.get("tracked", True)
    if row is None:
        if tracked or truth["changes_on_next_fit"]:
            wrong.append(f"{key}: no row")
    elif row.expected != truth["flag"] or (row.role == "model") != tracked:
        wrong.append(f"{key}: expected {row.expected}, role {row.role}")
print("RESULT " + json.dumps({
    "changed": [mark for mark in before if before[mark] != after[mark]],
    "wrong": wrong,
    "current": sum(trace.current for trace in capture.traces),
    "fails": capture.failure is not None,
    "truth": bool(case.NEXT_FIT_ERROR),
}))
"""


def parameters() -> list[object]:
    marks = [() if number % SAMPLE == 0 else (pytest.mark.slow,) for number in range(len(CASES))]
    return [pytest.param(name, marks=mark) for name, mark in zip(CASES, marks, strict=True)]


@pytest.mark.parametrize("name", parameters())
def test_case(name: str) -> None:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if "import tf_keras" in (FOLDER / "models" / f"{name}.py").read_text():
        environment["TF_USE_LEGACY_KERAS"] = "1"
    command = [sys.executable, "-c", SCRIPT, str(FOLDER), name]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    lines = [line for line in result.stdout.splitlines() if line.startswith("RESULT ")]
    assert lines, result.stderr[-3000:]
    found = json.loads(lines[0].removeprefix("RESULT "))
    assert found["changed"] == []
    assert found["wrong"] == []
    assert found["current"] == 1
    assert found["fails"] == found["truth"]

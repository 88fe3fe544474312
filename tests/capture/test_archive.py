"""The saved form of a capture: whole, without TensorFlow, and refused where it is damaged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from introspect.capture import is_capture, read_capture, write_capture
from introspect.capture.record import (
    Binding,
    Capture,
    CapturedOptimizer,
    CapturedSlot,
    CapturedTrace,
    CapturedVariable,
    FitEndWrite,
    StepFailure,
)
from introspect.capture.saved.frozen import FrozenProbe, OpTable
from introspect.errors import IntrospectError, RecordError
from introspect.records import Environment, LayerReport, Location, ModelSummary


def variable(path: str, shape: tuple[int | None, ...] = (4, None)) -> CapturedVariable:
    return CapturedVariable(path, shape, "float32", "model", True, False, True, None, owners=("m/a", "m/b"))


def example() -> Capture:
    table = OpTable(("x", "y"), (-1, 0), (0, 1), ((2,), (-1, 0)), frozenset({"y"}))
    probe = FrozenProbe((Location("train.py", 7, "call"),), {"": table})
    trace = CapturedTrace(
        "fit/1", "fit", "(float32[?, 4])", b"\x00graph\xff" * 9, (Binding("p", 1, 2),), ("y:0",), True, "traced"
    )
    optimizer = CapturedOptimizer(
        "adam", "Adam", 0.5, True, (0,), (1,), (CapturedSlot(0, 1, "m"),), True, (("a", "b"),)
    )
    return Capture(
        model=ModelSummary("m", "Sequential", "keras", True, True, False, False, 1),
        environment=Environment("0", "2.21", "3.15", "3.11", ("CPU:0",)),
        variables=(variable("a"), variable("b", ())),
        layers=(LayerReport("m", "m", "Sequential", None, True),),
        optimizers=(optimizer,),
        traces=(replace(trace, tape_ops=frozenset({("f", "x"), ("", "y")})),),
        source="traced",
        failure=StepFailure("retrace", "no", (1,), location=Location("a.py", 1)),
        fit_end=(FitEndWrite(0, 1, "adam", 0),),
        timings=(("trace", 0.25),),
        probes=(probe,),
        step=3,
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = str(tmp_path / "m.capture")
    capture = example()
    write_capture(capture, path)
    found = read_capture(path)
    assert replace(found, probes=()) == replace(capture, probes=())
    probe = found.probes[0]
    assert probe is not None
    assert probe.location("", "y") == Location("train.py", 7, "call")
    assert (probe.location("", "x"), probe.made_by_tape("", "x"), probe.made_by_tape("", "y")) == (None, False, True)
    assert (probe.rank("", "x", 0), probe.rank("", "y", 0), probe.rank("", "y", 1)) == (2, None, 0)
    assert (probe.replayed("", "x"), probe.replayed("", "y"), probe.replayed("f", "y")) == (False, True, False)
    assert is_capture(path)
    assert os.listdir(tmp_path) == ["m.capture"]


def test_a_trace_without_a_probe(tmp_path: Path) -> None:
    path = str(tmp_path / "m.capture")
    write_capture(replace(example(), probes=(None,)), path)
    assert read_capture(path).probes == (None,)


def test_reading_needs_no_tensorflow(tmp_path: Path) -> None:
    path = str(tmp_path / "m.capture")
    write_capture(example(), path)
    code = (
        "import sys\n"
        "for name in ('tensorflow', 'keras', 'tf_keras', 'h5py'): sys.modules[name] = None\n"
        "from introspect.capture import read_capture\n"
        f"assert read_capture({path!r}).model.name == 'm'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def rewrite(path: str, name: str, change: object) -> None:
    """Replace one member of an archive; `change` takes its bytes and gives others, or None to leave it out."""
    with zipfile.ZipFile(path) as archive:
        parts = {part: archive.read(part) for part in archive.namelist()}
    parts[name] = change(parts[name])  # type: ignore[operator]
    with zipfile.ZipFile(path, "w") as archive:
        for part, data in parts.items():
            if data is not None:
                archive.writestr(part, data)


def edit(**changes: object) -> object:
    def apply(data: bytes) -> bytes:
        head = json.loads(data)
        head.update({name: value for name, value in changes.items() if name in head})
        for name, value in changes.items():
            if name not in head:
                head["capture"][name] = value
        return json.dumps(head).encode()

    return apply


@pytest.mark.parametrize(
    ("member", "change", "message"),
    [
        ("capture.json", lambda data: data[:-9], "damaged"),
        ("capture.json", lambda data: None, "damaged"),
        ("capture.json", edit(format="other"), "no capture"),
        ("capture.json", edit(version=99), "of version 99"),
        ("capture.json", edit(variables=[]), "beyond the 0"),
        ("capture.json", edit(step="three"), r"capture\.step"),
        ("capture.json", edit(source="guessed"), r"capture\.source"),
        ("capture.json", edit(model=None), r"capture\.model"),
        ("graphs/0.pb", lambda data: None, "damaged"),
        ("probes/0.json", lambda data: data.replace(b'"tape":[0,1]', b'"tape":[0]'), "hold together"),
        ("probes/0.json", lambda data: data.replace(b"[-1,0]", b"[-1,5]"), "hold together"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, member: str, change: object, message: str) -> None:
    path = str(tmp_path / "m.capture")
    write_capture(example(), path)
    rewrite(path, member, change)
    with pytest.raises(RecordError, match=message) as caught:
        read_capture(path)
    assert str(caught.value).startswith(path)
    assert "\n" not in str(caught.value)


def test_a_file_cut_short_or_missing(tmp_path: Path) -> None:
    path = tmp_path / "m.capture"
    with pytest.raises(RecordError, match="no such file"):
        read_capture(str(path))
    assert not is_capture(str(path))
    write_capture(example(), str(path))
    data = path.read_bytes()
    for size in (0, 10, len(data) // 2, len(data) - 5):
        path.write_bytes(data[:size])
        with pytest.raises(RecordError, match="damaged"):
            read_capture(str(path))


def test_no_flipped_byte_changes_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.capture"
    write_capture(example(), str(path))
    data = path.read_bytes()
    wanted = replace(read_capture(str(path)), probes=())
    refused = 0
    for place in range(0, len(data), 7):
        flipped = bytearray(data)
        flipped[place] ^= 0xFF
        path.write_bytes(bytes(flipped))
        try:
            assert replace(read_capture(str(path)), probes=()) == wanted
        except RecordError:
            refused += 1
    assert refused > len(data) / 7 / 2


def test_unknown_fields_of_a_later_writer_are_passed_over(tmp_path: Path) -> None:
    path = str(tmp_path / "m.capture")
    write_capture(example(), path)
    rewrite(path, "capture.json", edit(invented=[1, 2]))
    assert read_capture(path).model.name == "m"


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "m.capture")
    write_capture(example(), path)
    before = Path(path).read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "writestr", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(IntrospectError, match="disk full"):
            write_capture(example(), path)
    assert Path(path).read_bytes() == before
    assert os.listdir(tmp_path) == ["m.capture"]
    with pytest.raises(IntrospectError, match="cannot be written"):
        write_capture(example(), str(tmp_path / "no" / "m.capture"))


@pytest.mark.skipif(os.name != "posix", reason="needs named pipes")
def test_a_pipe_stays_a_pipe(tmp_path: Path) -> None:
    pipe, read = tmp_path / "pipe", list[bytes]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_capture(example(), str(pipe))
    reader.join()
    assert pipe.is_fifo()
    (tmp_path / "m.capture").write_bytes(read[0])
    assert read_capture(str(tmp_path / "m.capture")).model.name == "m"

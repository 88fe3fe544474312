"""Reports and marks as bytes: exact, versioned, and safe to read whatever the bytes are."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from introspect_tb.answers import show_report

from introspect.errors import RecordError
from introspect.records import Report
from introspect.report import columns as columns_module
from introspect.report import report_pb2 as pb
from introspect.report import serde, tables
from introspect.report.columns import build_report, flatten_report
from introspect.report.metadata import Counts, Mark, mark_report
from introspect.report.proofs import ProofColumns
from introspect.report.tables import TABLES, Column, Kind, Table
from tests.report.strategies import make_records, reports
from tests.tb.synthetic import SERIES, make_huge_report, make_vgg_series

NEXT = serde.VERSION + 1
OLD = Path(__file__).parent / "stored"
"""Reports as earlier versions stored them, each beside its `to_dict` of then."""


def _pack(message: Any, **changes: Any) -> bytes:
    body = message.SerializeToString()
    stored = {"version": 1, "codec": pb.Stored.CODEC_ZLIB, "size": len(body), "body": zlib.compress(body)} | changes
    data: bytes = pb.Stored(**stored).SerializeToString()
    return data


def _parse(data: bytes) -> Any:
    stored = pb.Stored.FromString(data)
    return pb.Report.FromString(zlib.decompress(stored.body))


def spell(report: Report) -> str:
    """All that it holds as text: as equality, but NaN is NaN and -0.0 is not 0.0."""
    return repr([getattr(report, field.name) for field in dataclasses.fields(report)])


@given(reports)
@settings(max_examples=100, deadline=None)
def test_a_report_comes_back_as_it_was(report: Report) -> None:
    back = serde.read_report(serde.write_report(report))
    assert spell(back) == spell(report)


@pytest.mark.parametrize("name", [name for name in SERIES if name != "huge"])
def test_reports_like_real_ones_come_back(name: str) -> None:
    for report in SERIES[name]().reports:
        assert spell(serde.read_report(serde.write_report(report))) == spell(report)


def test_writing_is_deterministic() -> None:
    first, second = (make_vgg_series().reports[1] for _ in range(2))
    assert serde.write_report(first) == serde.write_report(second)


@pytest.mark.slow
def test_a_hundred_thousand_variables_are_small_and_quick(record_property: Any) -> None:
    import time

    report = make_huge_report(100_000)
    started = time.perf_counter()
    data = serde.write_report(report)
    wrote = time.perf_counter()
    back = serde.read_report(data)
    read = time.perf_counter()
    print(f"100 000 variables: {len(data)} bytes, written in {wrote - started:.2f} s, read in {read - wrote:.2f} s")
    assert back == report
    assert len(data) < 4_000_000


def test_a_damaged_byte_is_found() -> None:
    report = make_vgg_series().reports[0]
    whole = serde.write_report(report)
    found = 0
    for at in range(len(whole)):
        for flipped in {whole[at] ^ mask for mask in (0x01, 0x10, 0x80, 0xFF)}:
            try:
                assert serde.read_report(whole[:at] + bytes([flipped]) + whole[at + 1 :]) == report
            except RecordError:
                found += 1
    assert found > 3.9 * len(whole)  # deflate has bits that say nothing of the content: codes that no symbol uses


def test_a_truncated_report_is_found() -> None:
    whole = serde.write_report(make_vgg_series().reports[0])
    for length in range(len(whole)):
        with pytest.raises(RecordError):
            serde.read_report(whole[:length])


@given(st.binary(max_size=200))
def test_bytes_of_another_kind_are_refused(data: bytes) -> None:
    with pytest.raises(RecordError):
        serde.read_report(data)


def test_an_error_is_one_line() -> None:
    with pytest.raises(RecordError) as caught:
        serde.read_report(b"\x00" * 50)
    assert "\n" not in str(caught.value)


def test_a_newer_version_is_refused() -> None:
    message = _parse(serde.write_report(make_vgg_series().reports[0]))
    with pytest.raises(RecordError, match=r"has version \d+ .* upgrade"):
        serde.read_report(_pack(message, version=NEXT))


def test_unpacking_is_bounded() -> None:
    bomb = zlib.compress(bytes(300 << 20), 9)
    for size in (10, serde.UNPACKED_LIMIT + 1, 2**63):
        with pytest.raises(RecordError):
            serde.read_report(pb.Stored(version=1, codec=1, size=size, body=bomb).SerializeToString())
    with pytest.raises(serde.ReportTooLargeError):
        serde.read_report(bytes(serde.STORED_LIMIT + 1))


def test_trailing_bytes_are_refused() -> None:
    stored = pb.Stored.FromString(serde.write_report(make_vgg_series().reports[0]))
    stored.body += b"more"
    with pytest.raises(RecordError, match="does not unpack"):
        serde.read_report(stored.SerializeToString())


def test_a_number_that_does_not_fit_is_refused() -> None:
    report = dataclasses.replace(make_vgg_series().reports[0], step=2**70)
    with pytest.raises(RecordError, match="cannot be stored"):
        serde.write_report(report)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_what_passes_the_checks_can_be_built_and_shown(data: st.DataObject) -> None:
    """Numbers changed at random: refused in one way, or read without a fault anywhere."""
    message = _parse(serde.write_report(_SMALL[data.draw(st.integers(0, len(_SMALL) - 1))]))
    for _ in range(data.draw(st.integers(1, 3))):
        _change(message, data)
    try:
        columns = serde.read_columns(_pack(message))
    except RecordError:
        return
    build_report(columns)
    json.dumps(show_report(columns, "run", 0, 0.0), allow_nan=False)


_SMALL = [report for name in ("vgg", "cut", "hostile") for report in SERIES[name]().reports]


def _change(message: Any, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(list(TABLES)))
    table = getattr(message, name)
    field = data.draw(st.sampled_from(list(table.DESCRIPTOR.fields)))
    if field.name == "rows":
        table.rows = data.draw(st.integers(0, 2**32 - 1))
        return
    column = getattr(table, field.name)
    numbers = column.missing if field.type == field.TYPE_MESSAGE else column
    low = 0 if field.type == field.TYPE_UINT32 or numbers is not column else -(2**31)
    value = data.draw(st.integers(low, 2**31 - 1) | st.integers(max(low, -3), 3))
    if numbers and data.draw(st.booleans()):
        numbers[data.draw(st.integers(0, len(numbers) - 1))] = value
    else:
        numbers.append(value)


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("variables", "updated", "maybe"),
        ("findings", "severity", "fatal"),
        ("writes", "kind", "<script>"),
        ("optimizers", "learning_rate", "[1, 2]"),
        ("optimizers", "learning_rate", "[" * 100_000),
        ("optimizers", "learning_rate", "true"),
    ],
)
def test_a_column_cannot_say_what_its_field_cannot(table: str, column: str, value: str) -> None:
    columns = flatten_report(make_vgg_series().reports[1])
    columns.strings.append(value)
    columns.tables[table][column][0] = len(columns.strings) - 1
    with pytest.raises(RecordError, match=f"{table}.{column}"):
        serde.read_columns(serde.write_columns(columns))


@pytest.mark.parametrize("name", sorted(path.stem for path in OLD.glob("*.pb")))
def test_reports_of_earlier_versions_are_read(name: str) -> None:
    report = serde.read_report((OLD / f"{name}.pb").read_bytes())
    then = json.loads((OLD / f"{name}.json").read_text())
    _assert_holds(json.loads(json.dumps(report.to_dict())), then)


def test_there_is_an_earlier_version_to_read() -> None:
    assert {int(path.stem.split("_v")[1]) for path in OLD.glob("*.pb")} == set(range(1, serde.VERSION + 1))


def _assert_holds(now: Any, then: Any) -> None:
    """All that was said then is said now; fields that came since are left aside."""
    if isinstance(then, dict):
        for key, value in then.items():
            _assert_holds(now[key], value)
    elif isinstance(then, list):
        assert len(now) == len(then)
        for one, other in zip(now, then, strict=True):
            _assert_holds(one, other)
    else:
        assert now == then


def test_a_column_that_came_later_reads_as_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule for changes, tried: the next version brings five columns, and reports of this one are still read."""
    report = make_vgg_series().reports[2]
    stored = serde.write_report(report)
    newer = {"variables": {"reason", "measured", "tracked", "replicas"}, "traces": {"caller"}}
    changed = {
        name: Table(table.record, tuple(_since(column, newer.get(name, set())) for column in table.columns))
        for name, table in TABLES.items()
    }
    for module in (tables, columns_module, serde):
        monkeypatch.setattr(module, "TABLES", changed)
    monkeypatch.setattr(serde, "VERSION", NEXT)
    back = serde.read_report(stored)
    assert all(row.measured is None and row.tracked and row.replicas == () for row in back.variables)
    assert [trace.caller for trace in back.traces] == ["fit"]
    assert [row.path for row in back.variables] == [row.path for row in report.variables]
    assert serde.read_report(serde.write_report(report)) == report


def _since(column: Column, newer: set[str]) -> Column:
    return dataclasses.replace(column, since=NEXT) if column.name in newer else column


@given(make_records(Mark))
def test_a_mark_comes_back_as_it_was(mark: Mark) -> None:
    counts = Counts(*(abs(value) % 2**32 for value in dataclasses.astuple(mark.counts)))
    text = {name: getattr(mark, name).encode("ascii", "replace").decode() for name in ("source", "variables_id")}
    mark = dataclasses.replace(mark, counts=counts, ok=counts.errors + counts.warnings == 0, **text)
    assert repr(serde.read_mark(serde.write_mark(mark))) == repr(mark)


@given(st.binary(max_size=100))
def test_a_mark_of_other_bytes_is_refused_or_whole(data: bytes) -> None:
    with contextlib.suppress(RecordError):
        mark = serde.read_mark(data)
        assert repr(serde.read_mark(serde.write_mark(mark))) == repr(mark)


def test_the_mark_of_a_report() -> None:
    first, stale, *_ = make_vgg_series().reports
    healthy = mark_report(flatten_report(first))
    assert healthy.ok
    assert healthy.headline is None
    assert healthy.counts == Counts(32, 6, 6, 6, 0, 0, 0, 0, 0, 0, 0)
    mark = mark_report(flatten_report(stale), epoch=3, detail="backbone")
    assert (mark.ok, mark.epoch, mark.detail, mark.rules) == (False, 3, "backbone", ("INT103",))
    assert mark.headline is not None
    assert mark.headline.startswith("26 of 32")
    assert mark.counts == Counts(32, 32, 32, 6, 0, 0, 26, 0, 1, 0, 0)
    assert mark.variables_id == healthy.variables_id


def test_kinds_are_all_in_use() -> None:
    assert {column.kind for table in TABLES.values() for column in table.columns} == set(Kind)


@given(make_records(ProofColumns), st.data())
def test_a_proof_comes_back_equal(proof: ProofColumns, data: st.DataObject) -> None:
    ages = tuple(data.draw(st.lists(st.integers(-1, 2**40), max_size=20)))
    judgements = tuple(data.draw(st.integers(0, 2)) for _ in ages)
    numbers = {"variables": data.draw(st.integers(0, len(ages))), "variables_id": "5b0c", "slots_id": ""}
    proof = dataclasses.replace(proof, ages=ages, judgements=judgements, **numbers)
    again = serde.read_proof(serde.write_proof(proof))
    assert repr(again) == repr(proof)
    assert serde.read_proof_place(serde.write_proof(proof)) == proof.report_at


@given(st.binary(max_size=60))
def test_bytes_that_are_no_proof_end_in_a_record_error(data: bytes) -> None:
    with contextlib.suppress(RecordError):
        serde.read_proof(data)

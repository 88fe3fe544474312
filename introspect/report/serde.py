"""Reports and marks as protobuf bytes and back; the only user of report_pb2.

`report.proto` says what the bytes hold. Whatever is wrong with them ends in a RecordError, and unpacking is bounded.
"""

from __future__ import annotations

import dataclasses
import warnings
import zlib
from collections.abc import Iterable
from itertools import accumulate, pairwise
from typing import Any, cast, get_args

from google.protobuf.message import DecodeError

from introspect.errors import RecordError
from introspect.proof import JUDGEMENTS, NOT_LOOKED
from introspect.records import Environment, ModelSummary, Report, Source
from introspect.report.check import check_columns
from introspect.report.columns import Columns, ReportColumns, build_report, fill_column, flatten_report
from introspect.report.metadata import Counts, Mark
from introspect.report.proofs import ProofColumns
from introspect.report.tables import HAS_OFFSETS, TABLES, Column, Kind

with warnings.catch_warnings():
    # protobuf 6 warns of gencode of version 5, and 7 does not; it is that old for TensorFlow 2.19, which has version 5.
    warnings.filterwarnings("ignore", message="Protobuf gencode version")
    from introspect.report import report_pb2 as pb

VERSION = 3
STORED_LIMIT = 64 << 20
"""Bytes of a stored report."""
UNPACKED_LIMIT = 128 << 20
"""Bytes of its body; 100 000 variables with their writes and slots take about 30 MB."""
MARK_LIMIT = 1 << 20

_DELTA = frozenset({Kind.TEXT, Kind.MAYBE_TEXT, Kind.VALUE, Kind.TEXTS, Kind.PAIRS, Kind.WHOLE, Kind.ROW})
_PROOF_FIELDS = ("report_at", "step", "since", "steps", "created", "seconds", "variables_id", "slots_id")
_KERAS = ("keras", "tf_keras", "none")


class ReportTooLargeError(RecordError):
    """A report beyond STORED_LIMIT or UNPACKED_LIMIT."""


def write_report(report: Report) -> bytes:
    """The report as it is stored; `read_report` gives an equal one.

    Raises:
        RecordError: the report is too large, or holds what its records do not allow.
    """
    return write_columns(flatten_report(report))


def read_report(data: bytes) -> Report:
    """The report that `write_report` stored, by this version or an earlier one.

    Raises:
        RecordError: the bytes are damaged, too large, or of a newer version.
    """
    return build_report(read_columns(data))


def write_columns(columns: ReportColumns) -> bytes:
    """A flattened report as it is stored.

    Raises:
        RecordError: it is too large, or a value does not fit its field.
    """
    try:
        body = _make_message(columns).SerializeToString(deterministic=True)
    except (TypeError, ValueError) as error:
        raise RecordError(f"report cannot be stored: {_in_one_line(error)}") from error
    if len(body) > UNPACKED_LIMIT:
        raise ReportTooLargeError(f"report of {len(body)} bytes cannot be stored: the limit is {UNPACKED_LIMIT}")
    stored = pb.Stored(version=VERSION, codec=pb.Stored.CODEC_ZLIB, size=len(body), body=zlib.compress(body, 6))
    return cast(bytes, stored.SerializeToString(deterministic=True))


def read_columns(data: bytes) -> ReportColumns:
    """The checked columns of a stored report.

    Raises:
        ReportTooLargeError: it is larger than the limits.
        RecordError: the bytes are damaged or of a newer version.
    """
    if len(data) > STORED_LIMIT:
        raise ReportTooLargeError(f"report of {len(data)} bytes is not read: the limit is {STORED_LIMIT}")
    stored = _parse(pb.Stored(), data, "report")
    _check_version(stored.version, "report")
    if stored.codec != pb.Stored.CODEC_ZLIB:
        raise RecordError(f"report is damaged: it is packed by codec {stored.codec}; write it anew")
    message = _parse(pb.Report(), _unpack(stored.body, stored.size), "report")
    try:
        columns = _read_message(message, stored.version)
    except (UnicodeDecodeError, IndexError, OverflowError) as error:
        raise RecordError(f"report is damaged: {_in_one_line(error)}; write it anew") from error
    check_columns(columns)
    return columns


def write_mark(mark: Mark) -> bytes:
    """A mark of the timeline as it is stored."""
    plain = {field.name: getattr(mark, field.name) for field in dataclasses.fields(mark)}
    plain |= dataclasses.asdict(plain.pop("counts"))
    ok = plain.pop("ok")
    assert ok == (mark.counts.errors + mark.counts.warnings == 0)
    for name in ("reason", "detail", "model", "headline"):
        plain[name] = _encode(plain[name])
    plain["rules"] = [_encode(rule) for rule in mark.rules]
    return cast(bytes, pb.Mark(version=VERSION, **plain).SerializeToString(deterministic=True))


def read_mark(data: bytes) -> Mark:
    """The mark that `write_mark` stored.

    Raises:
        RecordError: the bytes are damaged or of a newer version.
    """
    if len(data) > MARK_LIMIT:
        raise ReportTooLargeError(f"mark of {len(data)} bytes is not read: the limit is {MARK_LIMIT}")
    stored = _parse(pb.Mark(), data, "mark")
    _check_version(stored.version, "mark")
    counts = Counts(**{field.name: getattr(stored, field.name) for field in dataclasses.fields(Counts)})
    try:
        return Mark(
            step=_optional(stored, "step"),
            epoch=_optional(stored, "epoch"),
            reason=_optional_text(stored, "reason"),
            detail=_optional_text(stored, "detail"),
            created=stored.created,
            source=stored.source,
            model=_decode(stored.model),
            ok=counts.errors + counts.warnings == 0,
            headline=_optional_text(stored, "headline"),
            rules=tuple(map(_decode, stored.rules)),
            counts=counts,
            variables_id=stored.variables_id,
        )
    except UnicodeDecodeError as error:
        raise RecordError(f"mark is damaged: {_in_one_line(error)}") from error


def write_proof(proof: ProofColumns) -> bytes:
    """A look at the values as it is stored."""
    rows = pb.ProofRows(variables=proof.variables, age=_take_differences(proof.ages), judgement=proof.judgements)
    body = rows.SerializeToString(deterministic=True)
    plain = {name: getattr(proof, name) for name in _PROOF_FIELDS}
    head = {"version": VERSION, "codec": pb.Stored.CODEC_ZLIB, "size": len(body), "body": zlib.compress(body, 6)}
    return cast(bytes, pb.Proof(**plain, **head).SerializeToString(deterministic=True))


def read_proof(data: bytes) -> ProofColumns:
    """The look that `write_proof` stored.

    Raises:
        ReportTooLargeError: it is larger than the limits.
        RecordError: the bytes are damaged or of a newer version.
    """
    stored = _parse_proof(data)
    rows = _parse(pb.ProofRows(), _unpack(stored.body, stored.size), "proof")
    ages, judgements = tuple(accumulate(rows.age)), tuple(rows.judgement)
    known = max(judgements, default=0) < len(JUDGEMENTS) and min(ages, default=0) >= NOT_LOOKED
    if len(ages) != len(judgements) or rows.variables > len(ages) or not known:
        raise RecordError("proof is damaged: its rows do not fit each other; write it anew")
    plain = {name: getattr(stored, name) for name in _PROOF_FIELDS}
    plain |= {"step": _optional(stored, "step"), "since": _optional(stored, "since")}
    return ProofColumns(**plain, variables=rows.variables, ages=ages, judgements=judgements)


def read_proof_place(data: bytes) -> int:
    """Place of the report that a stored look was held against; its rows are not unpacked.

    Raises:
        RecordError: as `read_proof`.
    """
    return cast(int, _parse_proof(data).report_at)


def _parse_proof(data: bytes) -> Any:
    if len(data) > STORED_LIMIT:
        raise ReportTooLargeError(f"proof of {len(data)} bytes is not read: the limit is {STORED_LIMIT}")
    stored = _parse(pb.Proof(), data, "proof")
    _check_version(stored.version, "proof")
    if stored.codec != pb.Stored.CODEC_ZLIB:
        raise RecordError(f"proof is damaged: it is packed by codec {stored.codec}; write it anew")
    return stored


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _parse(message: Any, data: bytes, what: str) -> Any:
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise RecordError(f"{what} is damaged: {_in_one_line(error)}; write it anew") from error
    return message


def _check_version(version: int, what: str) -> None:
    if version > VERSION:
        raise RecordError(
            f"{what} has version {version} and this introspect reads up to {VERSION}: upgrade introspect-keras"
        )
    if version < 1:
        raise RecordError(f"{what} is damaged: it has no version; write it anew")


def _unpack(body: bytes, size: int) -> bytes:
    if size > UNPACKED_LIMIT:
        raise ReportTooLargeError(f"report of {size} bytes is not unpacked: the limit is {UNPACKED_LIMIT}")
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(body, size + 1)
    except zlib.error as error:
        raise RecordError(f"report is damaged: {error}; write it anew") from error
    if len(unpacked) != size or not unpacker.eof or unpacker.unused_data:
        raise RecordError(f"report is damaged: it does not unpack to its {size} bytes; write it anew")
    return unpacked


def _encode(text: str | None) -> bytes | None:
    return None if text is None else text.encode("utf-8", "surrogatepass")


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _optional(message: Any, name: str) -> Any:
    return getattr(message, name) if message.HasField(name) else None


def _optional_text(message: Any, name: str) -> str | None:
    return _decode(getattr(message, name)) if message.HasField(name) else None


def _make_message(columns: ReportColumns) -> Any:
    message = pb.Report(
        model=_make_summary(pb.Model, columns.model),
        environment=_make_summary(pb.Environment, columns.environment),
        source=columns.source,
        reason=_encode(columns.reason),
        step=columns.step,
        created=columns.created,
        timings=[pb.Timing(stage=_encode(stage), seconds=seconds) for stage, seconds in columns.timings],
    )
    texts = [_encode(text) or b"" for text in columns.strings[1:]]
    message.strings.text = b"".join(texts)
    message.strings.length.extend(map(len, texts))
    for name, table in TABLES.items():
        target = getattr(message, name)
        target.rows = columns.rows[name]
        for column in table.columns:
            _write_column(target, column, columns.tables[name])
    return message


def _make_summary(message: Any, record: ModelSummary | Environment) -> Any:
    values = {field.name: getattr(record, field.name) for field in message.DESCRIPTOR.fields}
    for field in message.DESCRIPTOR.fields:
        if field.type == field.TYPE_BYTES:
            value = values[field.name]
            values[field.name] = list(map(_encode, value)) if isinstance(value, tuple) else _encode(value)
    return message(**values)


def _write_column(target: Any, column: Column, stored: Columns) -> None:
    if column.kind in HAS_OFFSETS:
        starts = stored[f"{column.name}_start"]
        getattr(target, f"{column.name}_count").extend([end - start for start, end in pairwise(starts)])
        if column.kind is Kind.CHILDREN:
            return
    values = stored[column.name]
    if column.kind is Kind.REAL:
        reals = getattr(target, column.name)
        reals.value.extend([0.0 if value is None else value for value in values])
        reals.missing.extend(_take_differences(row for row, value in enumerate(values) if value is None))
    else:
        getattr(target, column.name).extend(_take_differences(values) if column.kind in _DELTA else values)


def _take_differences(values: Iterable[int]) -> list[int]:
    differences, last = [], 0
    for value in values:
        differences.append(value - last)
        last = value
    return differences


def _read_message(message: Any, version: int) -> ReportColumns:
    if message.source not in get_args(Source):
        raise RecordError("report is damaged: its source is not known; write it anew")
    columns = ReportColumns(
        model=_read_model(message.model),
        environment=_read_environment(message.environment),
        source=message.source,
        reason=_optional_text(message, "reason"),
        step=_optional(message, "step"),
        created=message.created,
        timings=tuple((_decode(timing.stage), timing.seconds) for timing in message.timings),
        strings=_read_strings(message.strings),
    )
    for name, table in TABLES.items():
        source = getattr(message, name)
        columns.rows[name] = source.rows
        columns.tables[name] = {}
        for column in table.columns:
            if column.since <= version:
                _read_column(source, column, columns.tables[name])
        if source.rows != _count_rows(table.columns[0], columns.tables[name]):
            raise RecordError(f"report is damaged: {name} has not its {source.rows} rows; write it anew")
        for column in table.columns:
            if column.since > version:
                fill_column(columns, name, column)
    return columns


def _count_rows(column: Column, stored: Columns) -> int:
    has_offsets = column.kind in HAS_OFFSETS
    return len(stored[f"{column.name}_start"]) - 1 if has_offsets else len(stored[column.name])


def _read_strings(stored: Any) -> list[str | None]:
    ends = list(accumulate(stored.length, initial=0))
    text: bytes = stored.text
    if ends[-1] != len(text):
        raise RecordError("report is damaged: its strings do not share out their text; write it anew")
    if text.isascii():
        plain = text.decode("ascii")
        return [None, *(plain[start:end] for start, end in pairwise(ends))]
    return [None, *(_decode(text[start:end]) for start, end in pairwise(ends))]


def _read_model(stored: Any) -> ModelSummary:
    if stored.keras not in _KERAS:
        raise RecordError("report is damaged: its model is of no known Keras; write it anew")
    return ModelSummary(
        name=_decode(stored.name),
        class_name=_decode(stored.class_name),
        keras=stored.keras,
        trainable=stored.trainable,
        compiled=stored.compiled,
        run_eagerly=stored.run_eagerly,
        jit_compile=stored.jit_compile,
        steps_per_execution=stored.steps_per_execution,
        file=_optional_text(stored, "file"),
        custom_train_step=stored.custom_train_step,
    )


def _read_environment(stored: Any) -> Environment:
    return Environment(
        introspect=_decode(stored.introspect),
        tensorflow=_optional_text(stored, "tensorflow"),
        keras=_optional_text(stored, "keras"),
        python=_decode(stored.python),
        devices=tuple(map(_decode, stored.devices)),
        strategy=_optional_text(stored, "strategy"),
        warnings=tuple(map(_decode, stored.warnings)),
    )


def _read_column(source: Any, column: Column, stored: Columns) -> None:
    if column.kind in HAS_OFFSETS:
        stored[f"{column.name}_start"] = list(accumulate(getattr(source, f"{column.name}_count"), initial=0))
        if column.kind is Kind.CHILDREN:
            return
    values = getattr(source, column.name)
    if column.kind is Kind.REAL:
        reals: list[float | None] = list(values.value)
        for row in accumulate(values.missing):
            reals[row] = None
        stored[column.name] = reals
    else:
        stored[column.name] = list(accumulate(values) if column.kind in _DELTA else values)

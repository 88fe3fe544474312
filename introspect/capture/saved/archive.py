"""A `Capture` as one file, written with TensorFlow and read without.

A zip archive: `capture.json` (the record, its version on top), `graphs/N.pb` (GraphDefs), `probes/N.json` (tables).
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from typing import Any

from introspect.capture.damage import DAMAGE
from introspect.capture.record import RECORD_VERSION, Capture, Probe
from introspect.capture.saved.frozen import FrozenProbe, OpTable, freeze
from introspect.capture.saved.plain import from_json, to_json
from introspect.errors import IntrospectError, RecordError
from introspect.records import Location

FORMAT = "introspect-capture"

LARGEST = 4 << 30
"""Bytes that an archive may unpack to."""


def write_capture(capture: Capture, path: str) -> None:
    """Write a capture, to a temporary file beside the target first; a device or a pipe is written to as it is.

    Raises:
        IntrospectError: the file cannot be written.
    """
    from introspect.outlets.files import put_bytes

    frozen, content = freeze(capture), io.BytesIO()
    try:
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            write_parts(frozen, archive)
        put_bytes(path, content.getvalue())
    except OSError as error:
        reason = error.strerror or error
        raise IntrospectError(
            f"{path}: cannot be written ({reason}); make room there, or choose another folder"
        ) from error


def write_parts(capture: Capture, archive: zipfile.ZipFile) -> None:
    record = to_json(replace(capture, probes=()))
    graphs = zip((*capture.traces, *capture.feeds), (*record["traces"], *record["feeds"]), strict=True)
    for number, (trace, written) in enumerate(graphs):
        del written["graph"]
        archive.writestr(f"graphs/{number}.pb", trace.graph)
    for number, probe in enumerate(capture.probes):
        if isinstance(probe, FrozenProbe):
            tables = {name: to_json(table) for name, table in probe.tables.items()}
            archive.writestr(f"probes/{number}.json", dump({"places": to_json(probe.places), "tables": tables}))
    head = {"format": FORMAT, "version": RECORD_VERSION, "capture": record}
    archive.writestr("capture.json", dump(head))


def dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def is_capture(path: str) -> bool:
    """Whether a file is an archive that `write_capture` wrote, by its names alone."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "capture.json" in archive.namelist()
    except DAMAGE:
        return False


def read_capture(path: str) -> Capture:
    """Read what `write_capture` wrote; needs no TensorFlow.

    Raises:
        RecordError: there is no such file, it is damaged, or it is of a later version.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(part.file_size for part in archive.infolist()) > LARGEST:
                raise RecordError(f"{path}: unpacks to more than {LARGEST >> 30} GiB; no capture is that large")
            return read_parts(archive, path)
    except RecordError as error:
        raise error if str(error).startswith(path) else RecordError(f"{path}: {error}") from error
    except FileNotFoundError:
        raise RecordError(f"{path}: no such file; write one with introspect.capture.write_capture") from None
    except DAMAGE as error:
        raise RecordError(f"{path}: no capture, or a damaged one ({error}); write it again") from error


def read_parts(archive: zipfile.ZipFile, path: str) -> Capture:
    head = json.loads(archive.read("capture.json"))
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise RecordError(f"{path}: no capture of introspect's")
    if head.get("version") != RECORD_VERSION:
        raise RecordError(f"{path}: of version {head.get('version')}, this is {RECORD_VERSION}; write it again")
    record = head["capture"]
    for number, trace in enumerate((*record["traces"], *record.get("feeds", ()))):
        trace["graph"] = archive.read(f"graphs/{number}.pb")
    record["probes"] = []
    capture: Capture = from_json(Capture, record)
    check_indices(capture)
    names = set(archive.namelist())
    probes = tuple(
        read_probe(json.loads(archive.read(name))) if (name := f"probes/{number}.json") in names else None
        for number in range(len(capture.traces))
    )
    return replace(capture, probes=probes)


def read_probe(plain: Any) -> Probe:
    places = from_json(tuple[Location, ...], plain["places"], "probe.places")
    tables = {str(name): from_json(OpTable, table, "probe.tables") for name, table in plain["tables"].items()}
    for table in tables.values():
        lengths = {len(table.nodes), len(table.locations), len(table.tape), len(table.ranks)}
        if len(lengths) != 1 or any(not -1 <= place < len(places) for place in table.locations):
            raise RecordError("a probe's table does not hold together; write the file again")
    return FrozenProbe(places, tables)


def check_indices(capture: Capture) -> None:
    """Raise RecordError where the record points at a variable that it does not hold."""
    count = len(capture.variables)
    used = [binding.variable for trace in (*capture.traces, *capture.feeds) for binding in trace.bindings]
    for optimizer in capture.optimizers:
        used += [*optimizer.tracks, *optimizer.variables]
        used += [place for slot in optimizer.slots for place in (slot.variable, slot.slot)]
    used += [index for part in capture.helper_parts for index in part.variables]
    used += [place for write in capture.fit_end for place in (write.target, write.source, write.averaged)]
    used += capture.failure.variables if capture.failure is not None else ()
    if any(not 0 <= place < count for place in used):
        raise RecordError(f"points at a variable beyond the {count} that it holds; write the file again")

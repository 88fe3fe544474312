"""The outlets: each form that a report can take, named here once."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence

from introspect.errors import IntrospectError
from introspect.outlets._base import Options, Outlet
from introspect.outlets.files import write_file
from introspect.outlets.github import render_github
from introspect.outlets.html import render_html
from introspect.outlets.jsonreport import render_json
from introspect.outlets.message import render_message
from introspect.outlets.notebook import render_notebook
from introspect.outlets.sarif import render_sarif
from introspect.outlets.setting import make_inert
from introspect.outlets.terminal import render_diff_text, render_terminal
from introspect.outlets.verdict import count_findings, state_verdict
from introspect.records import Report, ReportDiff

OUTLETS: tuple[Outlet, ...] = (
    Outlet("text", (".txt",), binary=False, render=render_terminal),
    Outlet("json", (".json",), binary=False, render=render_json),
    Outlet("html", (".html", ".htm"), binary=False, render=render_html),
    Outlet("sarif", (".sarif",), binary=False, render=render_sarif),
    Outlet("github", (), binary=False, render=render_github),
    Outlet("protobuf", (".pb",), binary=True, render=render_message),
)

WHOLE = Options(width=100, limit=None)
"""What a file holds: every variable."""


def choose_outlet(path: str) -> Outlet:
    """The outlet that the file's ending names.

    Raises:
        IntrospectError: no outlet has this ending.
    """
    ending = os.path.splitext(path)[1].lower()
    for outlet in OUTLETS:
        if ending in outlet.endings:
            return outlet
    known = " ".join(ending for outlet in OUTLETS for ending in outlet.endings)
    raise IntrospectError(f"cannot tell the format of {path!r} from its ending; use one of {known}")


def save_reports(reports: Sequence[Report], path: str, outlet: Outlet | None = None) -> None:
    """Write reports into one file, in the form that `outlet` or the ending says; the old file stays until all is done.

    Raises:
        IntrospectError: no outlet has this ending, or the file cannot be written.
    """
    outlet = outlet or choose_outlet(path)
    write_file(path, outlet.render(reports, WHOLE))


def save_report(report: Report, path: str | os.PathLike[str]) -> None:
    """Write one report, see `save_reports`."""
    save_reports([report], os.fspath(path))


def render_text(report: Report) -> str:
    """The report as `print` shows it: as wide as the terminal, in plain characters, no newline at the end."""
    return render_terminal([report], choose_options()).rstrip("\n")


def render_brief(report: Report) -> str:
    """The report as a prompt shows it: the verdict in one line."""
    name, verdict = make_inert(report.model.name), make_inert(state_verdict(report))
    return f"<Report of {name!r}: {count_findings(report.findings)}. {verdict} print(report) shows it whole>"


def render_diff(diff: ReportDiff) -> str:
    """What changed, as `print` shows it."""
    return render_diff_text(diff, choose_options())


def choose_options() -> Options:
    """Options that suit standard output, as far as it is known."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "")
    width = shutil.get_terminal_size((80, 24)).columns
    return Options(width=min(width, 120), unicode=encoding.startswith("utf"))


__all__ = [
    "OUTLETS",
    "Options",
    "Outlet",
    "choose_options",
    "choose_outlet",
    "render_brief",
    "render_diff",
    "render_notebook",
    "render_text",
    "save_report",
    "save_reports",
]

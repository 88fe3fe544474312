"""The Introspect tab: its routes, as http_api.md has them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Hashable
from importlib import metadata
from typing import Any

from tensorboard import plugin_util, version
from tensorboard.plugins import base_plugin
from werkzeug.wrappers import Request, Response

from introspect.report.columns import build_report
from introspect.report.metadata import NORM_ROWS, PLUGIN_NAME, count_columns

from .answers import SCHEMA, Json, show_mark, show_norms, show_proof, show_report, show_series
from .cache import Cache
from .comparison import show_comparison
from .exports import export_csv, export_json
from .norms import read_latest_norms, read_layer_norms, read_norms
from .pages import ENTRY, StaticFile, load_pages
from .proofs import read_look
from .reports import MAX_MARKS, Moment, ReportLog, RequestError, RunState, hash_states, make_columns_cache
from .requests import (
    MAX_RUN,
    MAX_VARIABLE,
    MAX_VARIABLES,
    guard_route,
    pack_json,
    respond,
    send_file,
    send_json,
    take_at,
    take_optional_text,
    take_text,
    take_texts,
)

_BODIES_BYTES = 128 << 20
_EXPORTS = {"json": ("application/json", export_json), "csv": ("text/csv", export_csv)}


class IntrospectPlugin(base_plugin.TBPlugin):  # type: ignore[misc]
    """Serves reports to the page; reads them through the data provider alone, writes nothing."""

    plugin_name = PLUGIN_NAME

    def __init__(self, context: base_plugin.TBContext) -> None:
        self._provider = context.data_provider
        self._columns = make_columns_cache()
        self._bodies: Cache[bytes] = Cache(_BODIES_BYTES, len)
        self._pages = load_pages()

    def is_active(self) -> bool:
        """False: TensorBoard finds the tab active by the data that its provider lists."""
        return False

    def frontend_metadata(self) -> base_plugin.FrontendMetadata:
        """The tab's name and the page's module."""
        return base_plugin.FrontendMetadata(es_module_path=ENTRY, tab_name="Introspect")

    def get_plugin_apps(self) -> dict[str, Any]:
        """WSGI applications by route."""
        answers: dict[str, Callable[[Request], Response]] = {
            "/runs": self._answer_runs,
            "/timeline": self._answer_timeline,
            "/report": self._answer_report,
            "/compare": self._answer_compare,
            "/norms": self._answer_norms,
            "/layer_norms": self._answer_layer_norms,
            "/latest_norms": self._answer_latest_norms,
            "/proof": self._answer_proof,
            "/export": self._answer_export,
        }
        answers |= {route: functools.partial(_answer_page, page) for route, page in self._pages.items()}
        return {route: guard_route(answer) for route, answer in answers.items()}

    def _open_log(self, request: Request) -> ReportLog:
        experiment = plugin_util.experiment_id(request.environ)
        return ReportLog(self._provider, self._columns, plugin_util.context(request.environ), experiment)

    def _send(self, request: Request, key: Hashable, make: Callable[[], Json]) -> Response:
        """The answer of `key`, which must name all that it depends on."""
        experiment = plugin_util.experiment_id(request.environ)
        return send_json(request, self._bodies.get((experiment, key), lambda: pack_json(make())))

    def _answer_runs(self, request: Request) -> Response:
        log = self._open_log(request)
        states = log.list_runs()
        token = hash_states(states)
        return self._send(request, ("runs", token), lambda: _show_runs(log, states, token))

    def _answer_timeline(self, request: Request) -> Response:
        log = self._open_log(request)
        state = log.find_run(take_text(request, "run", MAX_RUN))
        return self._send(request, ("timeline", state), lambda: _show_timeline(log, state))

    def _answer_report(self, request: Request) -> Response:
        log = self._open_log(request)
        place = log.find_place(take_text(request, "run", MAX_RUN), take_at(request, "at"))

        def show() -> Json:
            return show_report(log.read_columns(place), place.run, place.at, place.wall_time)

        return self._send(request, ("report", place), show)

    def _answer_compare(self, request: Request) -> Response:
        log = self._open_log(request)
        run = take_text(request, "run", MAX_RUN)
        with_run = take_optional_text(request, "with_run", MAX_RUN)
        with_at = take_at(request, "with_at")
        if with_at is None:
            raise RequestError(400, "give with_at once")
        later = log.find_place(run, take_at(request, "at"))
        earlier = log.find_place(run if with_run is None else with_run, with_at)

        def show() -> Json:
            columns, with_columns = log.read_columns(later), log.read_columns(earlier)
            return {
                **show_comparison(build_report(columns), build_report(with_columns)),
                "run": later.run,
                "at": later.at,
                "with_run": earlier.run,
                "with_at": earlier.at,
                "counts": dataclasses.asdict(count_columns(columns)),
                "with_counts": dataclasses.asdict(count_columns(with_columns)),
            }

        return self._send(request, ("compare", later, earlier), show)

    def _answer_norms(self, request: Request) -> Response:
        log = self._open_log(request)
        state = log.find_run(take_text(request, "run", MAX_RUN))
        variables = take_texts(request, "variable", MAX_VARIABLE, MAX_VARIABLES)

        def show() -> Json:
            found = zip(variables, read_norms(log, state.run, variables), strict=True)
            series = [show_series({"variable": variable}, norms) for variable, norms in found]
            return {"schema": SCHEMA, "run": state.run, "token": state.token, "series": series}

        return self._send(request, ("norms", state, tuple(variables)), show)

    def _answer_layer_norms(self, request: Request) -> Response:
        log = self._open_log(request)
        state = log.find_run(take_text(request, "run", MAX_RUN))
        layer = take_text(request, "layer", MAX_VARIABLE)

        def show() -> Json:
            norms, count = read_layer_norms(log, state.run, layer)
            head = {"schema": SCHEMA, "run": state.run, "token": state.token, "layer": layer, "of": count}
            return {**head, "series": [show_series({"layer": layer}, norms)]}

        return self._send(request, ("layer_norms", state, layer), show)

    def _answer_latest_norms(self, request: Request) -> Response:
        log = self._open_log(request)
        state = log.find_run(take_text(request, "run", MAX_RUN))
        place = log.find_place(state.run, take_at(request, "at"))

        def show() -> Json:
            columns = log.read_columns(place)
            norms = read_latest_norms(log, state.run, columns)
            return {
                "schema": SCHEMA,
                "run": state.run,
                "at": place.at,
                "variables_id": columns.variables_id,
                "rows": columns.rows["variables"],
                "sampled_at": None if norms is None else norms.at,
                "wall_time": None if norms is None else norms.wall_time,
                **({name: [] for name in NORM_ROWS} if norms is None else show_norms(norms.rows)),
            }

        return self._send(request, ("latest_norms", state, place), show)

    def _answer_proof(self, request: Request) -> Response:
        log = self._open_log(request)
        state = log.find_run(take_text(request, "run", MAX_RUN))
        place = log.find_place(state.run, take_at(request, "at"))

        def show() -> Json:
            columns = log.read_columns(place)
            look = read_look(log, place, columns)
            head = {"schema": SCHEMA, "run": place.run, "at": place.at, "variables_id": columns.variables_id}
            return {**head, **show_proof(look)}

        return self._send(request, ("proof", state, place), show)

    def _answer_export(self, request: Request) -> Response:
        log = self._open_log(request)
        form = take_text(request, "format", 8)
        if form not in _EXPORTS:
            raise RequestError(400, "format is json or csv")
        place = log.find_place(take_text(request, "run", MAX_RUN), take_at(request, "at"))
        content_type, export = _EXPORTS[form]
        content = export(build_report(log.read_columns(place)))
        return send_file(request, content, content_type, f"introspect-report-{place.at}.{form}")


def _answer_page(page: StaticFile, request: Request) -> Response:
    return respond(request, page.content, page.content_type, expires=page.expires)


def _show_runs(log: ReportLog, states: list[RunState], token: str) -> Json:
    return {
        "schema": SCHEMA,
        "token": token,
        "logdir": log.find_location(),
        "versions": {"introspect": _find_version(), "tensorboard": version.VERSION},
        "runs": [
            {
                "run": state.run,
                "token": state.token,
                "last_at": state.last_at,
                "last_wall_time": state.last_wall_time,
                "has_norms": state.has_norms,
                "has_proof": state.has_proof,
                "last": _show_last(log, state),
            }
            for state in states
        ],
    }


def _show_last(log: ReportLog, state: RunState) -> Json | None:
    moment = log.read_last_moment(state)
    return None if moment is None else _show_moment(moment)


def _show_timeline(log: ReportLog, state: RunState) -> Json:
    moments = log.read_timeline(state.run)
    return {
        "schema": SCHEMA,
        "run": state.run,
        "token": state.token,
        "truncated": len(moments) >= MAX_MARKS,
        "marks": [_show_moment(moment) for moment in moments],
    }


def _show_moment(moment: Moment) -> Json:
    return show_mark(moment.at, moment.wall_time, moment.mark, moment.stored)


def _find_version() -> str:
    try:
        return metadata.version("introspect-keras")
    except metadata.PackageNotFoundError:
        return "unknown"

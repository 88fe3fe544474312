"""The command line: options in, exit code out. Nothing heavy is imported before the options are understood.

Exit code: 0 clean, 1 findings at or above `--fail-on`, 2 something could not be analysed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from introspect.arguments import build_parser, split_words
from introspect.errors import IntrospectError
from introspect.nativelog import divert_native_output, silence_native_log
from introspect.streams import flush, is_watched, say, show, show_utf8

if TYPE_CHECKING:
    from introspect.outlets import Options, Outlet
    from introspect.records import Report

FAIL_ON = {"error": ("error",), "warning": ("error", "warning"), "never": ()}
CLEAN, FOUND, FAILED, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    try:
        options = build_parser().parse_args(arguments)
    finally:
        flush()  # of --help
    try:
        return run(options)
    except IntrospectError as error:
        return complain(str(error), options.debug)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        said = f"{type(error).__name__}: {error}".rstrip(": ")
        return complain(f"failed ({said}); --debug shows the traceback", options.debug)


def complain(message: str, debug: bool = False) -> int:
    """One line on standard error, with `debug` after the traceback of the error at hand."""
    flush()
    if debug and sys.exc_info()[0] is not None:
        say(traceback.format_exc().rstrip())
    from introspect.outlets.setting import make_inert

    say(f"introspect: {make_inert(' '.join(message.split()))}")
    return FAILED


def run(options: argparse.Namespace) -> int:
    """Do what the options say.

    Raises:
        IntrospectError: an option does not fit, or the output cannot be written.
    """
    if options.version:
        from introspect import __version__

        show(f"introspect {__version__}\n")
        return CLEAN
    if options.list_rules or options.explain is not None:
        return show_catalogue(options.explain)
    if not options.targets:
        return complain("nothing to inspect; give a saved model or package.module:factory, or see --help")
    return inspect_all(options)


def show_catalogue(word: str | None) -> int:
    """Print one rule, or all of them.

    Raises:
        IntrospectError: no rule has this id or name.
    """
    from introspect.catalogue import explain_rule, list_rules

    show(list_rules() if word is None else explain_rule(word))
    return CLEAN


def inspect_all(options: argparse.Namespace) -> int:
    """Inspect each target, then write all reports; a target that fails does not keep the others from being shown.

    Raises:
        IntrospectError: an option does not fit, or the output cannot be written.
    """
    outlet = choose_outlet(options)
    select, ignore = split_words(options.select), split_words(options.ignore)
    check_words(select, ignore)
    prepare_process(options.debug)
    reports, code = [], CLEAN
    for target in options.targets:
        report = inspect_one(target, options, select, ignore)
        if report is None:
            code = FAILED
        else:
            reports.append(report)
    if reports:
        write_reports(reports, outlet, options)
    return code or judge(reports, options.fail_on)


def choose_outlet(options: argparse.Namespace) -> Outlet:
    """The outlet that the options ask for, checked before anything is loaded.

    Raises:
        IntrospectError: the ending names no format, the folder is missing, or a .pb is asked for several targets.
    """
    from introspect import outlets

    named = {outlet.name: outlet for outlet in outlets.OUTLETS}
    if options.output is None:
        return named[options.format or "text"]
    folder = os.path.dirname(os.path.abspath(options.output))
    if not os.path.isdir(folder):
        raise IntrospectError(f"cannot write {options.output!r}: folder {folder!r} does not exist; make it first")
    outlet = named[options.format] if options.format else outlets.choose_outlet(options.output)
    if outlet.binary and len(options.targets) > 1:
        raise IntrospectError(f"{options.output!r} holds one report; give one target a call, or use .json or --logdir")
    return outlet


def check_words(select: Sequence[str], ignore: Sequence[str]) -> None:
    """Refuse a word that names no rule before a model is loaded."""
    if select or ignore:
        from introspect.api import choose_rules

        choose_rules(select, ignore)


def prepare_process(debug: bool) -> None:
    """Let modules of the current folder be found, and keep TensorFlow's log off standard error."""
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    if not debug:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def inspect_one(
    target: str, options: argparse.Namespace, select: tuple[str, ...], ignore: tuple[str, ...]
) -> Report | None:
    """The report of one target, or None after one line on standard error."""
    try:
        with keep_quiet(options.debug), show_progress(target):
            from introspect.api import inspect_target

            return inspect_target(target, **gather_options(options), select=select, ignore=ignore)
    except IntrospectError as error:
        complain(f"{target}: {error}" if target not in str(error) else str(error), options.debug)
    except (Exception, SystemExit) as error:
        # A module that calls sys.exit when it is imported is caught here, too.
        said = f"{type(error).__name__}: {error}".rstrip(": ")
        complain(f"{target}: could not be inspected ({said}); --debug shows the traceback", options.debug)
    return None


def gather_options(options: argparse.Namespace) -> dict[str, Any]:
    """What `inspect_target` takes, by its names."""
    return {
        "data_file": options.data,
        "batch_size": options.batch_size,
        "optimizer": options.optimizer,
        "loss": options.loss,
        "jit_compile": options.jit_compile,
        "steps_per_execution": options.steps_per_execution,
        "custom_objects": options.custom_objects,
        "unsafe": options.unsafe,
        "measure": options.measure,
        "try_fixes": options.try_fixes,
    }


@contextlib.contextmanager
def keep_quiet(debug: bool) -> Iterator[None]:
    """Keep standard output for the report: what a model's code prints goes to standard error, warnings nowhere.

    The working directory that such code leaves is put back: other targets and the output are named from it.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.chdir(os.curdir))
        stack.enter_context(divert_native_output())
        if not debug:
            stack.enter_context(silence_native_log())
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        if not debug:
            stack.enter_context(warnings.catch_warnings())
            if not sys.warnoptions:
                warnings.simplefilter("ignore")
            stack.callback(logging.disable, logging.root.manager.disable)
            logging.disable(logging.WARNING)
        yield


@contextlib.contextmanager
def show_progress(target: str) -> Iterator[None]:
    """A line that says what is going on, while it does, where a person looks on."""
    if not is_watched():
        yield
        return
    from rich.console import Console
    from rich.text import Text

    from introspect.outlets.setting import make_inert

    console = Console(stderr=True)
    spinner = "dots" if console.encoding.startswith("utf") else "line"
    with console.status(Text(f"{make_inert(target)}: reading the compiled step"), spinner=spinner):
        yield


def write_reports(reports: Sequence[Report], outlet: Outlet, options: argparse.Namespace) -> None:
    """To the event files, to the file, or to standard output.

    Raises:
        IntrospectError: the output cannot be written.
    """
    if options.logdir is not None:
        from introspect.report.writer import append_report

        for report in reports:
            append_report(options.logdir, report)
    if options.output is None:
        print_reports(reports, outlet)
        return
    from introspect.outlets import save_reports

    save_reports(reports, options.output, outlet)
    if is_watched():
        say(f"introspect: wrote {options.output}")


def print_reports(reports: Sequence[Report], outlet: Outlet) -> None:
    """The outlet's form on standard output; text in colour where that is a terminal.

    Raises:
        IntrospectError: standard output is closed or cannot be written to.
    """
    from introspect.outlets import choose_options

    layout = choose_options()
    if outlet.name != "text":
        show_utf8(outlet.render(reports, layout))
    elif sys.stdout is not None and (sys.stdout.isatty() or os.environ.get("FORCE_COLOR")):
        show(render_in_colour(reports, layout))
    else:
        show(str(outlet.render(reports, layout)))


def render_in_colour(reports: Sequence[Report], layout: Options) -> str:
    """Text with the terminal's colours, as far as NO_COLOR and TERM allow."""
    from rich.console import Console

    from introspect.outlets.terminal import print_reports as print_text

    page = io.StringIO()
    console = Console(file=page, force_terminal=True, width=layout.width, highlight=False, markup=False, emoji=False)
    print_text(reports, layout, console)
    return page.getvalue()


def judge(reports: Sequence[Report], fail_on: str) -> int:
    """The exit code that the findings ask for."""
    counted = FAIL_ON[fail_on]
    return FOUND if any(finding.severity in counted for report in reports for finding in report.findings) else CLEAN

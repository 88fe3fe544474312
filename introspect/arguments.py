"""The options of the command line."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

FORMATS = ("text", "json", "html", "sarif", "github")
FAIL_ON = ("error", "warning", "never")
USAGE_ERROR = 2

EPILOG = """\
targets:
  model.keras, model.h5      a saved model
  package.module:factory     a function that returns a compiled model, or (model, data)
  step.capture               a saved capture; needs no TensorFlow

Several targets go into one output, with -o too: JSON holds an array then, SARIF a run
for each, the others one after another; a .pb file holds one report.
Exit code: 0 clean, 1 findings at or above --fail-on, 2 a target could not be analysed.
"""


class Parser(argparse.ArgumentParser):
    """argparse whose errors are one line, and which a full, closed or broken stream does not stop: so Python 3.11.2's."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE_ERROR, f"{self.prog}: {message}; --help shows the options\n")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        with contextlib.suppress(AttributeError, OSError):
            super().exit(status, message)
        sys.exit(status)

    def print_help(self, file: Any = None) -> None:
        with contextlib.suppress(AttributeError, OSError):
            super().print_help(file)


def build_parser() -> Parser:
    """All options, in the groups in which --help shows them."""
    parser = Parser(
        prog="introspect",
        description="What does the compiled Keras train step really train? Reads the graph, not the flags.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="what to inspect, see below")
    add_output_options(parser.add_argument_group("output"))
    add_step_options(parser.add_argument_group("the step"))
    add_rule_options(parser.add_argument_group("rules"))
    other = parser.add_argument_group("other")
    other.add_argument("--debug", action="store_true", help="show tracebacks, warnings and TensorFlow's log")
    other.add_argument("--version", action="store_true", help="print the version and exit")
    return parser


def add_output_options(group: argparse._ArgumentGroup) -> None:
    """Where the report goes."""
    group.add_argument("--format", choices=FORMATS, help="form of the output (default: as FILE ends, else text)")
    group.add_argument("-o", "--output", metavar="FILE", help="write to FILE: .txt .json .html .sarif .pb")
    group.add_argument("--logdir", metavar="DIR", help="also write the report for TensorBoard")


def add_step_options(group: argparse._ArgumentGroup) -> None:
    """Which step is meant, and how far to go."""
    group.add_argument("--data", metavar="FILE.npz", help="a real batch instead of a made-up one")
    group.add_argument(
        "--batch-size", type=parse_positive, metavar="N", help="rows of a batch: of arrays, and of what is made up"
    )
    group.add_argument("--optimizer", metavar="NAME", help="for a file that was saved uncompiled: adam, sgd, ...")
    group.add_argument("--loss", metavar="NAME", help="for a file that was saved uncompiled: mse, ...")
    group.add_argument("--jit-compile", action=argparse.BooleanOptionalAction, help="compile with XLA, or not")
    group.add_argument("--steps-per-execution", type=parse_positive, metavar="N", help="steps in one call")
    group.add_argument("--custom-objects", metavar="MODULE", help="module that registers the model's own classes")
    group.add_argument("--unsafe", action="store_true", help="allow code from the file to run (Lambda layers)")
    group.add_argument("--measure", action="store_true", help="run one real step on a copy: norms, placed devices")
    group.add_argument("--try-fixes", action="store_true", help="build each fix on a copy: what would train then")


def add_rule_options(group: argparse._ArgumentGroup) -> None:
    """Which findings count."""
    words: dict[str, Any] = {"action": "append", "default": [], "metavar": "RULES"}
    group.add_argument("--select", **words, help="only these: ids, beginnings of ids or names, with commas")
    group.add_argument("--ignore", **words, help="not these")
    group.add_argument("--fail-on", choices=FAIL_ON, default="error", help="exit 1 from here (default: error)")
    group.add_argument("--explain", metavar="RULE", help="print what a rule means and exit")
    group.add_argument("--list-rules", action="store_true", help="print all rules and exit")


def split_words(words: str | Sequence[str]) -> tuple[str, ...]:
    """Each word by itself: of a sequence, of one text with commas, or of both."""
    texts = (words,) if isinstance(words, str) else words
    return tuple(word.strip() for text in texts for word in text.split(",") if word.strip())


def parse_positive(text: str) -> int:
    """A whole number above 0.

    Raises:
        argparse.ArgumentTypeError: it is something else.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)

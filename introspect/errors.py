"""The errors that introspect raises, and its warning.

    IntrospectError
    ├── LoadError            a file or factory that cannot be loaded
    ├── NotCompiledError     the model has no loss and no optimizer yet
    ├── NotBuiltError        the model has no variables yet, and no data to make them from
    ├── DataError            `data=` that cannot be read without taking from it
    ├── StepError            no trace exists and the train step itself cannot be built
    ├── BackendError         Keras runs on a backend that has no TensorFlow graph
    ├── VersionError         an internal of TensorFlow or Keras is not where it was seen
    ├── GraphError           a graph that does not hold together
    ├── RecordError          a saved capture or report that cannot be read
    └── MismatchError        the callback found an error, and was told to raise; carries the report

    IntrospectWarning        what the callback finds, where it is told to warn

Each message is one line: what failed, on what, and what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from introspect.records import Report


class IntrospectError(Exception):
    """Root of all errors of this package; the command line turns it into exit code 2."""


class LoadError(IntrospectError):
    """A file or factory cannot be loaded."""


class NotCompiledError(IntrospectError):
    """The model was never compiled, so no train step exists."""


class NotBuiltError(IntrospectError):
    """The model has no variables yet and nothing says what its inputs are."""


class DataError(IntrospectError):
    """The data cannot be looked at without taking from it, or has no signature."""


class StepError(IntrospectError):
    """The train step cannot be traced; the message holds the reason that Keras gave."""


class BackendError(IntrospectError):
    """The model's backend compiles no TensorFlow graph."""


class VersionError(IntrospectError):
    """A private name of TensorFlow or Keras is not where it was on the versions tried."""


class GraphError(IntrospectError):
    """A captured graph is malformed."""


class RecordError(IntrospectError):
    """A saved capture or report cannot be read."""


class MismatchError(IntrospectError):
    """The step does not do what the flags say; `report` tells all of it."""

    def __init__(self, message: str, report: Report) -> None:
        super().__init__(message)
        self.report = report

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.report)


class IntrospectWarning(UserWarning):
    """What `IntrospectCallback` finds while training goes on."""

"""The only folder that touches TensorFlow and Keras; everything it hands on is a plain `Capture`."""

from introspect.capture.files.loading import LoadedModel, load_batch, load_factory, load_model_file
from introspect.capture.function import capture_function
from introspect.capture.making import made_variables
from introspect.capture.model import capture_model
from introspect.capture.record import Capture
from introspect.capture.saved.archive import is_capture, read_capture, write_capture
from introspect.capture.saved.frozen import freeze
from introspect.capture.trace.twin import Twin, twin_model

__all__ = [
    "Capture",
    "LoadedModel",
    "Twin",
    "capture_function",
    "capture_model",
    "freeze",
    "is_capture",
    "load_batch",
    "load_factory",
    "load_model_file",
    "made_variables",
    "read_capture",
    "twin_model",
    "write_capture",
]

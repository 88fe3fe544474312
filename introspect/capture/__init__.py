"""The only folder that touches TensorFlow and Keras; everything it hands on is a plain `Capture`."""

from introspect.capture.function import capture_function
from introspect.capture.model import capture_model
from introspect.capture.record import Capture
from introspect.capture.twin import Twin, twin_model

__all__ = ["Capture", "Twin", "capture_function", "capture_model", "twin_model"]

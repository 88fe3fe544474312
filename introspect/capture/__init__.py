"""The only folder that touches TensorFlow and Keras; everything it hands on is a plain `Capture`."""

from introspect.capture.model import capture_model
from introspect.capture.record import Capture

__all__ = ["Capture", "capture_model"]

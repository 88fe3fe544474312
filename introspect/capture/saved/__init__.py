"""A `Capture` as one file: written with TensorFlow, read without."""

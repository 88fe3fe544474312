"""The only folder that touches TensorFlow and Keras; each import of them is inside a function."""

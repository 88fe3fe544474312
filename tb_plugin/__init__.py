"""The TensorBoard plugin of introspect; installed as the package `introspect_tb`."""

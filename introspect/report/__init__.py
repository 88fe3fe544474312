"""The report: built from evidence, stored as protobuf, written for TensorBoard."""

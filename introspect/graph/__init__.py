"""Graphs as compact arrays: parsing, flattening, walking."""

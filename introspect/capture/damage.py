"""What reading a damaged file may raise."""

from __future__ import annotations

import zipfile
import zlib

DAMAGE = (
    *(OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError),
    *(ValueError, LookupError, TypeError, AttributeError),
)
"""Errors of zipfile, h5py and numpy's archives, then those of JSON of another shape."""

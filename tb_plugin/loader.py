"""What TensorBoard loads at its start. It does so unguarded: an exception at import or in the flags would end it.

So this module imports nothing but TensorBoard's own base class, and everything else happens in `load`, under guard.
"""

from __future__ import annotations

import logging
from typing import Any

from tensorboard.plugins import base_plugin

PLUGIN_NAME = "introspect"
_KEEP_ALL = 0
_LOG = logging.getLogger(__name__)


class IntrospectLoader(base_plugin.TBLoader):  # type: ignore[misc]
    """Loads the Introspect tab."""

    def fix_flags(self, flags: Any) -> None:
        """Keep every report: TensorBoard would keep ten by default. What the user set stands."""
        try:
            flags.samples_per_plugin.setdefault(PLUGIN_NAME, _KEEP_ALL)
        except Exception:  # an embedder's flags may lack it; ten reports are better than no TensorBoard
            _LOG.debug("samples_per_plugin cannot be set", exc_info=True)

    def load(self, context: Any) -> Any:
        """The plugin, or None (TensorBoard then goes on without it) where it cannot be made."""
        try:
            from .plugin import IntrospectPlugin

            return IntrospectPlugin(context)
        except Exception:
            _LOG.exception("the Introspect tab cannot be loaded; TensorBoard goes on without it")
            return None

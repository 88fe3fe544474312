"""TensorBoard's own WSGI application over a directory, in this process and without a port."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from introspect_tb.loader import IntrospectLoader
from tensorboard.backend import application
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
from tensorboard.plugins import base_plugin
from werkzeug.test import Client, TestResponse

BASE = "/data/plugin/introspect/"


class LogClient:
    """Asks the plugin's routes about the runs below `root`.

    `samples` is how much TensorBoard keeps of a series, 0 for all.
    """

    def __init__(self, root: str, samples: int = 0, path_prefix: str = "") -> None:
        self._root = root
        self._prefix = path_prefix
        self._multiplexer = plugin_event_multiplexer.EventMultiplexer(tensor_size_guidance={"introspect": samples})
        self.reload()
        provider = data_provider.MultiplexerDataProvider(self._multiplexer, root)
        plugin = IntrospectLoader().load(base_plugin.TBContext(data_provider=provider))
        self.client = Client(application.TensorBoardWSGI([plugin], path_prefix, data_provider=provider))

    def reload(self) -> None:
        """Read what was appended, as TensorBoard does every few seconds."""
        self._multiplexer.AddRunsFromDirectory(self._root)
        self._multiplexer.Reload()

    def ask(self, route: str, method: str = "GET", headers: dict[str, str] | None = None, **query: Any) -> TestResponse:
        """One request; a list stands for a parameter that is given more than once."""
        text = urlencode(query, doseq=True, errors="surrogatepass")
        return self.client.open(f"{self._prefix}{BASE}{route}", method=method, query_string=text, headers=headers)

    def read(self, route: str, **query: Any) -> Any:
        """The JSON of an answer that must be 200."""
        answer = self.ask(route, **query)
        assert answer.status_code == 200, answer.get_data(as_text=True)
        return answer.json

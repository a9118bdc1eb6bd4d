"""An ordinary HTTP client of an application on this machine: it sees what a user of the endpoint would see."""

from __future__ import annotations

import http.client
import ipaddress
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from orchestrator.errors import ConfigError


class Client:
    """One kept-alive connection; set up again after a failure.

    Raises:
        ConfigError: the endpoint is not on this machine.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or not _is_local(parts.hostname):
            raise ConfigError(f"only endpoints on this machine are asked (http://127.0.0.1…), not {url!r}")
        self._path = parts.path or "/"
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=timeout_s)

    def predict(self, rows: Sequence[dict[str, Any]]) -> tuple[Any, http.client.HTTPMessage]:
        """Predictions for rows, and the headers of the answer.

        Raises:
            OSError, HTTPException: there was no answer.
            ValueError: there was one that is none.
        """
        document, headers = self.ask("POST", {"rows": rows})
        try:
            answers = [number_of(answer) for answer in document["predictions"]]
        except (KeyError, TypeError) as error:
            raise ValueError(f"not an answer with predictions ({error!r}): {str(document)[:300]}") from error
        if len(answers) != len(rows):
            raise ValueError(f"{len(answers)} predictions for {len(rows)} rows")
        return np.array(answers), headers

    def ask(self, method: str, document: Any = None, path: str = "") -> tuple[Any, http.client.HTTPMessage]:
        """The JSON that answers a request, and its headers; raises as ``predict``."""
        body = None if document is None else json.dumps(document)
        try:
            self._connection.request(method, self._path + path, body, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise
        if response.status != 200:
            raise ValueError(f"HTTP {response.status}: {text[:300].decode(errors='replace')}")
        return json.loads(text), response.headers

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


def number_of(answer: dict[str, Any]) -> float | list[float]:
    """What an answer predicts: a probability, a value, or the probability of each class."""
    if "probabilities" in answer:
        return [float(value) for value in dict(answer["probabilities"]).values()]
    return float(answer["value"] if "value" in answer else answer["probability"])


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""Users of a served model of customers: they ask, and say later what came of it."""

from __future__ import annotations

import random
import threading

from stages.deployment.client import Client
from tests.stages.churners import customers


class Users:
    """They ask an application, and half of them convert, whatever answers; ``with`` it."""

    def __init__(self, url: str) -> None:
        table = customers().drop_columns(["left"])
        self._url = url
        self._rows = [{**row, "since": row["since"].isoformat()} for row in table.to_pylist()]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        chance, client = random.Random(5), Client(self._url, 10.0)
        while not self._over.wait(0.01):
            outcomes = []
            for _ in range(5):
                _, headers = client.predict([chance.choice(self._rows)])
                value = float(chance.random() < 0.5)
                outcomes.append({"id": headers["X-Answer-Id"], "metric": "conversion", "value": value})
            client.ask("POST", {"outcomes": outcomes}, "/outcomes")
        client.close()

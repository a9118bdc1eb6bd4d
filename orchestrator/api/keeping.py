"""The process behind ``orc up --background``: the keeper of a local Ray and the server of API and pages, in one."""

from __future__ import annotations

from contextlib import ExitStack

from orchestrator.api.server import Web, serving
from orchestrator.app.installation import Installation
from orchestrator.backends import standing_keeper


def main(home: str, wish: str, web: str) -> int:
    """Keep a Ray and, as long as it is kept, serve; says on standard output why that could not begin.

    Args:
        home: ``ORC_HOME``, which the environment names as well.
        wish: ``Wish`` in JSON.
        web: ``Web`` in JSON.
    """
    with ExitStack() as served:

        def serve() -> None:
            served.enter_context(serving(Installation(), Web.from_json(web)))

        return standing_keeper.main(home, wish, serve)

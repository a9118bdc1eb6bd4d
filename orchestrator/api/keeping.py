"""The process behind ``orc up --background``: the keeper of a local Ray and the server of API and pages, in one."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack

from orchestrator.api.server import Web, serving
from orchestrator.app.installation import Installation
from orchestrator.app.triggering import triggering
from orchestrator.app.watching import watching
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
            here, wanted = Installation(), Web.from_json(web)
            served.enter_context(serving(here, wanted))
            served.enter_context(watching(here, _say, wanted.resume))
            served.enter_context(triggering(here, wanted.project, wanted.triggers))

        return standing_keeper.main(home, wish, serve)


def _say(text: str) -> None:
    """A line in the log of ``orc up --background``."""
    sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
    sys.stderr.flush()

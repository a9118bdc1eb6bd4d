"""A real HTTP server on the loopback that keeps what it is sent, and may be away for a while."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver:
    """Keeps bodies by path; answers 400, which no client tries again, as long as it is told to be away."""

    def __init__(self) -> None:
        self.got: list[tuple[str, bytes]] = []
        self.away = False
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                if not receiver.away:
                    receiver.got.append((self.path, body))
                self.send_response(400 if receiver.away else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def bodies(self, path: str) -> list[bytes]:
        """What came for a path."""
        return [body for to, body in self.got if to == path]

    def serve(self) -> None:
        """Until ``close``."""
        self._server.serve_forever()

    def close(self) -> None:
        """End."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver as long as the context lasts."""
    found = Receiver()
    thread = threading.Thread(target=found.serve, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        found.close()
        thread.join()

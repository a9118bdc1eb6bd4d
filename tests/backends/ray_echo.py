"""A worker for tests of the Ray transport: says who it is, then sends back what it is sent, or does as told."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading

from orchestrator.backends.bundles.transport import WorkerNeeds

ENDLESS = r"(a+)+$", "a" * 60 + "b"


def echo(connection: socket.socket, name: str, needs: WorkerNeeds) -> None:
    """See the module."""
    stream = connection.makefile("rb")

    def say(data: bytes) -> None:
        connection.sendall(len(data).to_bytes(4, "big") + data)

    main = threading.current_thread() is threading.main_thread()
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    say(f"name={name} pid={os.getpid()} main={main} gpus={gpus} colour={os.environ.get('COLOUR', '')}".encode())
    while len(header := stream.read(4)) == 4:
        data = stream.read(int.from_bytes(header, "big"))
        if data == b"stop":
            return
        if data == b"exit":
            os._exit(3)
        if data == b"raise":
            raise ValueError("the worker is broken")
        if data == b"spin":
            re.match(*ENDLESS)
        if data == b"children":
            inside = subprocess.Popen(["sleep", "600"])
            outside = subprocess.Popen(["sleep", "600"], start_new_session=True)
            data = f"{inside.pid} {outside.pid}".encode()
        say(data)

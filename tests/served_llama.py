"""A model behind `mlx_lm server`, for as long as a test needs it."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

PATIENCE = 60  # seconds to the first answer


@contextmanager
def serve(model: Path, adapter: Path | None = None) -> Iterator[str]:
    """Serve a model on a free port of this machine; yields the base URL of its OpenAI-compatible API, ending in /v1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "mlx_lm",
        "server",
        "--model",
        str(model),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    if adapter:
        command += ["--adapter-path", str(adapter)]
    with TemporaryFile() as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"HF_HUB_OFFLINE": "1"})
        try:
            if not answers(server, f"http://127.0.0.1:{port}/health"):
                log.seek(0)
                raise RuntimeError(f"mlx_lm server did not start:\n{log.read().decode(errors='replace')}")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            try:
                server.wait(timeout=10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def answers(server: subprocess.Popen[bytes], url: str) -> bool:
    """Wait until the server answers; False if it ends or takes too long."""
    deadline = time.monotonic() + PATIENCE
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    return False

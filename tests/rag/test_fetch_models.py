"""fetch_models.py against a local server that speaks the Hub's HTTP API: whole or not at all, tried once, and said plainly."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from settings import ROOT

COMMIT = "a" * 40
FILES = {"config.json": b'{"a": 1}', "model.safetensors": b"weights" * 1000, "README.md": b"not wanted"}


def archive() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in {
            "en_core_sci_sm-0.5.4/en_core_sci_sm/en_core_sci_sm-0.5.4/config.cfg": b"[nlp]",
            "en_core_sci_sm-0.5.4/setup.py": b"",
        }.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@contextmanager
def hub(broken: str = "") -> Iterator[str]:
    """Serves every repository with FILES, and scispaCy's archive; a path that holds `broken` is cut in the middle."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(head=True)

        def do_GET(self) -> None:
            self.answer(head=False)

        def answer(self, *, head: bool) -> None:
            name = self.path.split("?")[0].rsplit("/", 1)[-1]
            if "/resolve/" in self.path and name in FILES:
                body = FILES[name]
            elif self.path.endswith(".tar.gz"):
                body = archive()
            elif "/tree/" in self.path:
                entries = [
                    {"type": "file", "path": f, "size": len(b), "oid": hashlib.sha1(b).hexdigest()}
                    for f, b in FILES.items()
                ]
                body = json.dumps(entries).encode()
            elif self.path.startswith("/api/models/"):
                body = json.dumps(
                    {
                        "id": "x/y",
                        "modelId": "x/y",
                        "sha": COMMIT,
                        "private": False,
                        "tags": [],
                        "siblings": [{"rfilename": f} for f in FILES],
                    }
                ).encode()
            else:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.send_header("x-repo-commit", COMMIT)
            self.send_header("etag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.end_headers()
            if not head:
                cut = bool(broken) and broken in self.path
                self.wfile.write(body[: len(body) // 2] if cut else body)
                if cut:
                    self.connection.close()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that hangs up is part of the test
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def fetch(folder: Path, endpoint: str, *args: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "MODELS_DIR": str(folder),
        "HF_ENDPOINT": endpoint,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(folder.parent / "hf"),
        "SCISPACY_URL": f"{endpoint}/en_core_sci_sm-0.5.4.tar.gz",
    }
    return subprocess.run(
        [sys.executable, str(ROOT / "3_rag" / "fetch_models.py"), *args],
        capture_output=True,
        text=True,
        env=environment,
        timeout=240,
    )


def test_all_three_are_brought_whole(tmp_path: Path) -> None:
    with hub() as endpoint:
        done = fetch(tmp_path / "models", endpoint)
    assert done.returncode == 0, done.stderr + done.stdout
    names = {p.name for p in (tmp_path / "models").iterdir() if p.is_dir()}
    assert names == {"bge-small-en-v1.5", "ms-marco-MiniLM-L-6-v2", "en_core_sci_sm"}
    assert (tmp_path / "models" / "bge-small-en-v1.5" / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert not (tmp_path / "models" / "bge-small-en-v1.5" / "README.md").exists()
    assert (tmp_path / "models" / "en_core_sci_sm" / "config.cfg").exists()


def test_what_breaks_off_leaves_nothing_and_is_named(tmp_path: Path) -> None:
    with hub(broken="bge-small") as endpoint:
        done = fetch(tmp_path / "models", endpoint)
    assert done.returncode == 1
    assert "all-MiniLM-L6-v2 (bundled) instead of BAAI/bge-small-en-v1.5" in done.stdout
    assert {p.name for p in (tmp_path / "models").iterdir() if p.is_dir()} == {
        "ms-marco-MiniLM-L-6-v2",
        "en_core_sci_sm",
    }


def test_without_a_hub_one_line_says_what_is_used_instead_and_it_is_not_tried_again(tmp_path: Path) -> None:
    done = fetch(tmp_path / "models", "http://127.0.0.1:9", "--once")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip().splitlines()) == 1
    assert "make models" in done.stdout
    assert "Traceback" not in done.stderr
    again = fetch(tmp_path / "models", "http://127.0.0.1:9", "--once")
    assert (again.returncode, again.stdout) == (0, "")

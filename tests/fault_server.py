"""A stand-in for a language model's server: the OpenAI protocol over real sockets, failing in the way that a test asks for."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def chunk(text: str | None, finish: str | None = None) -> bytes:
    body = {
        "id": "x",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": text or ""}, "finish_reason": finish}],
    }
    return f"data: {json.dumps(body)}\n\n".encode()


@contextmanager
def serve(
    words: Sequence[str], *, fault: str = "none", at: int = 10**9, status: int = 200
) -> Iterator[tuple[str, list[dict[str, object]]]]:
    """Streams `words`; before word `at` does `fault`: drop, stall, error, bad_json, eof, length. Yields the base URL and the requests seen."""
    seen: list[dict[str, object]] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_POST(self) -> None:
            seen.append(
                json.loads(self.rfile.read(int(self.headers["content-length"])))
                | {"authorization": self.headers.get("authorization")}
            )
            if status != 200:
                self.send_error(status)
                return
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            for place, word in enumerate([*words, None]):
                if place == at:
                    if fault == "drop":
                        self.connection.close()
                        return
                    if fault == "stall":
                        time.sleep(3)
                        return
                    if fault == "error":
                        self.wfile.write(b'data: {"error": {"message": "out of memory", "type": "server_error"}}\n\n')
                        return
                    if fault == "bad_json":
                        self.wfile.write(b"data: {not json\n\n")
                        return
                    if fault == "eof":
                        return
                    if fault == "length":
                        self.wfile.write(chunk("", "length") + b"data: [DONE]\n\n")
                        return
                self.wfile.write(chunk(word) if word is not None else chunk("", "stop") + b"data: [DONE]\n\n")
                self.wfile.flush()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that hangs up is part of the test
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", seen
    finally:
        server.shutdown()
        server.server_close()

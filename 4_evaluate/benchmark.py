"""Speed, as ratios within one run, so that the figures mean the same on any machine.

Reads    the shipped documents, the search index, ../shared/data/kqa (where it is)
Writes   nothing; prints Markdown
Run      python 4_evaluate/benchmark.py        (or: make bench)
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from settings import ROOT

SHARED = ROOT.parent / "shared" / "data"
ONE_LINE_PAGE = "import streamlit as st\nst.title('MediAssist')\n"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmarks named, or all."""
    benchmarks: dict[str, Callable[[], str]] = {
        "index": indexing,
        "turn": turn_overhead,
        "paint": first_paint,
        "cold": cold_start,
    }
    parser = argparse.ArgumentParser(description="Measure speed, as ratios within one run.")
    parser.add_argument(
        "names", nargs="*", choices=[*benchmarks, []], help=f"which: {', '.join(benchmarks)} (default: all)"
    )
    for name in parser.parse_args(argv).names or benchmarks:
        print(benchmarks[name](), flush=True)
    return 0


def indexing() -> str:
    """Throughput of index.py's embedding, and of the whole of index.py, over bare model.encode on the same passages, in turn."""
    from chunking import cut, embedded
    from documents import Document, read_documents
    from models import embedder

    model = embedder()
    documents = [d for d in read_documents(ROOT / "1_data" / "medical_docs") if isinstance(d, Document)]
    texts = [chunk.search_text for chunk in cut(documents, model)]
    bare, ours, whole = [], [], []
    for _ in range(3):
        bare.append(_seconds(lambda: model._model.encode(texts, normalize_embeddings=True, show_progress_bar=False)))
        ours.append(_seconds(lambda: embedded(texts, model)))
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, str(ROOT / "3_rag" / "index.py"), "--index", folder]
            whole.append(_seconds(lambda c=command: subprocess.run(c, check=True, capture_output=True)))  # type: ignore[misc]  # mypy does not infer a default of a lambda
    embedding = statistics.median(b / o for b, o in zip(bare, ours, strict=True))
    all_of_it = statistics.median(b / w for b, w in zip(bare, whole, strict=True))
    return (
        f"indexing {len(texts)} passages: throughput over bare model.encode {embedding:.2f} (embedding), "
        f"{all_of_it:.2f} (the whole command, imports, cutting, checking and writing included)"
    )


def _seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def turn_overhead() -> str:
    """What a turn costs outside the calls to embedder, reranker, generator and Chroma."""
    import models
    import search_index
    from pipeline import Turn, turn

    inside = [0.0]

    def timed(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return real(*args, **kwargs)
            finally:
                inside[0] += time.perf_counter() - started

        setattr(owner, name, call)

    for owner, names in (
        (models.Embedder, ("documents",)),
        (models.Reranker, ("scores",)),
        (search_index.SearchIndex, ("dense", "get", "vectors")),
    ):
        for name in names:
            timed(owner, name)
    outside, whole = [], []
    for question in _questions():
        inside[0] = 0.0
        seconds = _seconds(lambda q=question: [i for i in turn(q) if isinstance(i, Turn)])  # type: ignore[misc]  # mypy does not infer a default of a lambda
        whole.append(seconds * 1000)
        outside.append((seconds - inside[0]) * 1000)
    outside, whole = sorted(outside[1:]), sorted(whole[1:])
    return (
        f"a turn, {len(whole)} questions: p50 {whole[len(whole) // 2]:.1f} ms, p95 {whole[int(len(whole) * 0.95)]:.1f} ms; "
        f"outside embedder, reranker, generator and Chroma: p50 {outside[len(outside) // 2]:.1f} ms, p95 {outside[int(len(outside) * 0.95)]:.1f} ms"
    )


def _questions() -> list[str]:
    path = SHARED / "kqa" / "questions.jsonl"
    if path.is_file():
        return [json.loads(line)["Question"] for line in path.read_text("utf-8").splitlines()]
    import yaml

    return [row["text"] for row in yaml.safe_load((ROOT / "4_evaluate" / "cases" / "blind.yaml").read_text("utf-8"))]


@contextmanager
def _served(page: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"DATABASE_URL": f"sqlite:///{folder}/log.db"}
        process = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", str(page), "--server.port", str(port)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            for _ in range(300):
                try:
                    urllib.request.urlopen(f"http://localhost:{port}/_stcore/health", timeout=1)
                    break
                except OSError:
                    time.sleep(0.1)
            yield f"http://localhost:{port}"
        finally:
            process.terminate()
            process.wait(20)


def first_paint() -> str:
    """Seconds from opening the page to its title, over those of a one-line page; the first page after a start, and one opened while models load."""
    from playwright.sync_api import sync_playwright

    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    ratios, meanwhile = [], []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        plain = Path(folder) / "plain.py"
        plain.write_text(ONE_LINE_PAGE, "utf-8")
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)

        def paint(url: str) -> float:
            context = browser.new_context()
            page = context.new_page()
            started = time.perf_counter()
            page.goto(url)
            page.get_by_role("heading", name="MediAssist").wait_for()
            seconds = time.perf_counter() - started
            context.close()
            return seconds

        paint("data:text/html,<h1>MediAssist</h1>")
        for _ in range(5):
            with _served(plain) as url:
                bare = paint(url)
            with _served(ROOT / "6_ui" / "app.py") as url:
                ratios.append(paint(url) / bare)
                meanwhile.append(paint(url) / bare)
        browser.close()
    return (
        f"first paint over a one-line page, {len(ratios)} pairs: first page median {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}); "
        f"a page opened while models load {statistics.median(meanwhile):.2f} ({min(meanwhile):.2f}-{max(meanwhile):.2f})"
    )


def cold_start() -> str:
    """Seconds from a cold process to the first triage and the first whole answer, on the command line."""
    script = (
        "import time; s=time.perf_counter()\n"
        "from pipeline import Turn, turn\n"
        "first=None\n"
        "for i in turn('crushing chest pain going down my left arm'):\n"
        "    first = first or time.perf_counter()-s\n"
        "print(first, time.perf_counter()-s)"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
        ).stdout.split()
        for _ in range(3)
    ]
    triage, whole = (statistics.median(float(r[i]) for r in runs) for i in (0, 1))
    return f"cold start: first triage after {triage:.1f} s, first whole answer after {whole:.1f} s"


if __name__ == "__main__":
    sys.exit(main())

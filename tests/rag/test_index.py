"""index.py: built whole or not at all, and nothing unchanged is embedded twice."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import index
import models
from document_terms import current_build
from pipeline import Turn, turn
from search_index import IndexProblem, SearchIndex, lexical_tokens, read_manifest
from settings import ROOT

PAGE = """---
title: {title}
synonyms: [{title} of the knee]
category: conditions
sources:
  - name: Test
    url: https://example.org/{title}
---

## What it is
{title} is an invented illness that makes knees hum. Deep green thrombus (DGT) is its cause.

## When to see a doctor
See a doctor if the {title} hum lasts over three weeks. DGT can come back.
"""


def write(folder: Path, *titles: str) -> Path:
    folder.mkdir(exist_ok=True)
    for title in titles:
        (folder / f"{title}.md").write_text(PAGE.format(title=title), "utf-8")
    return folder


def opened(folder: Path) -> SearchIndex:
    build = current_build(folder)
    assert build is not None
    return SearchIndex(build, models.embedder())


class Counting:
    """Counts the texts that are embedded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.texts: list[str] = []
        real = models.Embedder.documents

        def documents(model: models.Embedder, texts: list[str], batch_size: int = 32) -> models.Vectors:
            self.texts += texts
            return real(model, texts, batch_size)

        monkeypatch.setattr(models.Embedder, "documents", documents)


def test_built_searched_and_described(tmp_path: Path) -> None:
    docs, folder = write(tmp_path / "docs", "Zorbitis", "Quandle"), tmp_path / "index"
    assert index.main(["--docs", str(docs), "--index", str(folder)]) == 0
    built = opened(folder)
    assert built.manifest.embedder == models.EmbedderIdentity(models.BUNDLED_EMBEDDER, models.BUNDLED_SHA256, "")
    assert set(built.manifest.documents) == {"docs/Zorbitis.md", "docs/Quandle.md"}
    best = max(built.lexical(lexical_tokens(["zorbitis hum"])[0], 3).items(), key=lambda x: x[1])[0]
    text, data = built.get([best])[best]
    assert "Zorbitis" in text
    assert data["url"] == "https://example.org/Zorbitis"


def test_an_abbreviation_is_found_by_its_long_form(tmp_path: Path) -> None:
    docs, folder = write(tmp_path / "docs", "Zorbitis"), tmp_path / "index"
    index.main(["--docs", str(docs), "--index", str(folder)])
    built = opened(folder)
    hits = built.lexical(lexical_tokens(["thrombus"])[0], 10)
    assert {built.get([i])[i][1]["section"] for i in hits} == {"What it is", "When to see a doctor"}


def test_unchanged_documents_are_not_embedded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    docs, folder = write(tmp_path / "docs", "Zorbitis", "Quandle"), tmp_path / "index"
    args = ["--docs", str(docs), "--index", str(folder)]
    index.main(args)
    first = current_build(folder)
    counting = Counting(monkeypatch)
    assert index.main(args) == 0
    assert "up to date" in capsys.readouterr().out
    assert counting.texts == []
    assert current_build(folder) == first
    write(docs, "Vexalgia")
    index.main(args)
    embedded = [t for t in counting.texts if len(t.split()) > 8]
    assert embedded
    assert all("Vexalgia" in t for t in embedded)
    assert len(opened(folder)) == 6


def test_a_changed_document_is_embedded_again_and_a_removed_one_is_gone(tmp_path: Path) -> None:
    docs, folder = write(tmp_path / "docs", "Zorbitis", "Quandle"), tmp_path / "index"
    args = ["--docs", str(docs), "--index", str(folder)]
    index.main(args)
    (docs / "Quandle.md").unlink()
    (docs / "Zorbitis.md").write_text(PAGE.format(title="Zorbitis").replace("knees hum", "elbows glow"), "utf-8")
    index.main(args)
    built = opened(folder)
    assert set(built.manifest.documents) == {"docs/Zorbitis.md"}
    assert built.lexical(lexical_tokens(["glow"])[0], 5)
    assert not built.lexical(lexical_tokens(["quandle"])[0], 5)


def test_a_section_longer_than_the_embedder_reads_is_cut_between_sentences(tmp_path: Path) -> None:
    docs, folder = tmp_path / "docs", tmp_path / "index"
    docs.mkdir()
    sentences = " ".join(f"Sentence number {n} says that the knee hums in the night." for n in range(120))
    (docs / "long.md").write_text(f"# Long\n\n## What it is\n{sentences}\n", "utf-8")
    index.main(["--docs", str(docs), "--index", str(folder)])
    built, model = opened(folder), models.embedder()
    texts = [text for text, _ in built.get(built._ids).values()]
    assert len(texts) > 1
    assert max(model.count_tokens([f"Long. What it is. {t}" for t in texts])) <= model.max_tokens
    assert sum(t.count("Sentence number") for t in texts) == 120
    assert all(line.startswith("Sentence") and line.endswith(".") for t in texts for line in t.splitlines())


@pytest.mark.parametrize("victim", ["manifest.json", "ids.json", "titles.npy", "chroma/chroma.sqlite3"])
def test_a_damaged_index_says_how_to_mend_it_and_is_rebuilt(tmp_path: Path, victim: str) -> None:
    docs, folder = write(tmp_path / "docs", "Zorbitis"), tmp_path / "index"
    index.main(["--docs", str(docs), "--index", str(folder)])
    build = current_build(folder)
    assert build is not None
    (build / victim).write_bytes(b"\0 not what it was")
    probe = "import sys, models; from pathlib import Path; from search_index import SearchIndex; SearchIndex(Path(sys.argv[1]), models.embedder())"
    done = subprocess.run([sys.executable, "-c", probe, str(build)], capture_output=True, text=True, timeout=120)
    assert "IndexProblem" in done.stderr
    assert "index.py --rebuild" in done.stderr
    assert index.main(["--docs", str(docs), "--index", str(folder), "--rebuild"]) == 0
    assert len(opened(folder)) == 2


def test_a_missing_index_leaves_the_triage_and_says_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import retrieve

    monkeypatch.setattr(retrieve, "get_settings", lambda: type("S", (), {"index_dir": tmp_path / "none"}))
    *_, item = (i for i in turn("crushing chest pain and sweating") if isinstance(i, Turn))
    assert item.triage.level == "HIGH"
    assert item.answer is not None
    assert any("python 3_rag/index.py" in c.reason for c in item.degraded)


@pytest.mark.parametrize("args", [["--docs", "/nowhere/at/all"], ["--docs", "{empty}"]])
def test_nothing_to_index_is_one_line(tmp_path: Path, args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert index.main([a.format(empty=tmp_path / "empty") for a in args] + ["--index", str(tmp_path / "i")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def start(docs: Path, folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(ROOT / "3_rag" / "index.py"), "--docs", str(docs), "--index", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ))


def killed_leaves_the_old_index(tmp_path: Path, delays: list[float]) -> None:
    docs, folder = write(tmp_path / "docs", "Zorbitis"), tmp_path / "index"
    assert index.main(["--docs", str(docs), "--index", str(folder)]) == 0
    serving = current_build(folder)
    write(docs, *[f"Illness{n}" for n in range(150)])
    for delay in delays:
        process = start(docs, folder)
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline and len(list((folder / "builds").iterdir())) < 2:
            time.sleep(0.02)  # until the new build's folder is there
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if current_build(folder) == serving:
            assert len(opened(folder)) == 2
        else:  # it had finished
            assert len(opened(folder)) == 302
            return
    assert index.main(["--docs", str(docs), "--index", str(folder)]) == 0
    assert len(opened(folder)) == 302
    assert len(list((folder / "builds").iterdir())) <= 2


def test_killed_in_the_middle_the_old_index_still_serves(tmp_path: Path) -> None:
    killed_leaves_the_old_index(tmp_path, [0.3])


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_killed_at_many_moments_the_old_index_still_serves(tmp_path: Path) -> None:
    killed_leaves_the_old_index(tmp_path, [n * 0.15 for n in range(25)])


def test_two_runs_at_once_the_second_waits_its_turn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from filelock import FileLock

    docs, folder = write(tmp_path / "docs", "Zorbitis"), tmp_path / "index"
    folder.mkdir()
    with FileLock(folder / "lock"):
        done = subprocess.run(
            [sys.executable, str(ROOT / "3_rag" / "index.py"), "--docs", str(docs), "--index", str(folder)],
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.returncode == 2
    assert "Another index run" in done.stderr


def test_a_manifest_that_cannot_be_read_is_a_problem_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(IndexProblem, match="--rebuild"):
        read_manifest(tmp_path)

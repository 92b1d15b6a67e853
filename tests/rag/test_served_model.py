"""The chain with a really served language model: a tiny Llama over mlx_lm's own server, spoken to by the real client."""

from pathlib import Path

import pytest
from served_llama import serve
from tiny_llama import make_tiny_llama

import generate
import models
from pipeline import Turn, turn
from settings import Settings

SAYS = "Drinking warm fluids can ease a sore throat. See a doctor if a sore throat is not better after a week."


def test_a_served_model_is_asked_and_what_no_passage_supports_is_not_shown(
    shipped_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_tiny_llama(tmp_path / "llama", [SAYS] * 50)
    with serve(model) as url:
        settings = Settings(llm_base_url=url)
        monkeypatch.setattr(generate, "get_settings", lambda: settings)
        monkeypatch.setattr(models, "get_settings", lambda: settings)
        *_, item = (i for i in turn("I have a sore throat") if isinstance(i, Turn))
    assert item.answer is not None
    assert url in next(c.using for c in models.choices() if c.part == "generator") or item.answer.degraded
    # Random weights say nothing that the passages support: the answer is quoted instead, and says why.
    assert item.answer.degraded is not None
    assert item.answer.degraded.reason == "the language model said nothing that the passages support"
    assert item.answer.finish == "complete"
    assert item.answer.citations

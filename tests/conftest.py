"""Every test runs on its own log and on an index of the shipped documents, whatever the developer's .env says."""

import os
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_SCRATCH = Path(tempfile.mkdtemp(prefix="mediassist-tests-"))

# Set before anything imports settings. Empty means unset, and keeps a developer's .env from filling it in.
os.environ.update(
    {
        "DATABASE_URL": f"sqlite:///{_SCRATCH / 'log.db'}",
        "INDEX_DIR": str(
            ROOT / ".pytest_cache" / "index"
        ),  # kept between runs: unchanged documents are not embedded again
        "MODELS_DIR": str(_SCRATCH / "models"),
        "HF_TOKEN": "",
        "HF_MODEL_REPO": "",
        "LLM_BASE_URL": "",
        "LLM_API_KEY": "",
        "LLM_MODEL": "",
        "TOKENIZERS_PARALLELISM": "false",
    }
)

import pytest

import index


@pytest.fixture(scope="session")
def shipped_index() -> Path:
    """The index of 1_data/medical_docs, built by the real script."""
    assert index.main([]) == 0
    return Path(os.environ["INDEX_DIR"])

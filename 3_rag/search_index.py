"""The index on disk: what lies where, and how a finished build is opened.

INDEX_DIR/current              the id of the build that serves, replaced in one rename
INDEX_DIR/builds/ID/           one whole build, never changed once it serves:
    chroma/                    passages, their metadata and vectors
    bm25/                      the lexical index, rows in the order of ids.json
    ids.json  titles.npy       passage ids; one vector a passage for its document's title
    terms.json                 titles and synonyms of the documents, for the lexicon
    manifest.json              which embedder, chunking and documents made it
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import bm25s
import chromadb
import numpy as np
import numpy.typing as npt
import Stemmer
from chromadb.api import ClientAPI
from chromadb.config import Settings as ChromaSettings

from models import Embedder, EmbedderIdentity, Vectors

CHUNKING = "section-1"  # changes whenever the same documents would be cut differently
COLLECTION = "passages"
_STEMMER = Stemmer.Stemmer("english")


class IndexProblem(RuntimeError):  # noqa: N818 - said to people as it stands
    """There is no index to search, or not one that fits; the message says what to type."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a build was made from. `documents` maps `collection/source` to the digest of its content."""

    build: str
    embedder: EmbedderIdentity
    chunking: str
    documents: Mapping[str, str]
    passages: int

    def made_alike(self, other: "Manifest") -> bool:
        """Whether a passage of the same document would have the same vector in both."""
        return (self.embedder, self.chunking) == (other.embedder, other.chunking)

    def write(self, folder: Path) -> None:
        """Write `manifest.json`; the last file of a build."""
        (folder / "manifest.json").write_text(json.dumps(asdict(self), indent=1), "utf-8")


def read_manifest(build: Path) -> Manifest:
    """The manifest of a build. Raises IndexProblem where it cannot be read."""
    try:
        data = json.loads((build / "manifest.json").read_text("utf-8"))
        return Manifest(**data | {"embedder": EmbedderIdentity(**data["embedder"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise IndexProblem(
            f"The index in {build} is damaged ({type(error).__name__}). Rebuild it: python 3_rag/index.py --rebuild"
        ) from error


def open_chroma(folder: Path) -> ClientAPI:
    """A Chroma client on a folder, telemetry off."""
    return chromadb.PersistentClient(str(folder), ChromaSettings(anonymized_telemetry=False))


def lexical_tokens(texts: Sequence[str]) -> list[list[str]]:
    """Stemmed words without stop words, as both the index and the query are cut for BM25."""
    tokens = bm25s.tokenize(list(texts), stopwords="en", stemmer=_STEMMER, return_ids=False, show_progress=False)
    return cast("list[list[str]]", tokens)


class SearchIndex:
    """One opened build. Raises IndexProblem where it was made by another embedder than `embedder`."""

    def __init__(self, build: Path, embedder: Embedder) -> None:
        self.manifest = read_manifest(build)
        if self.manifest.embedder != embedder.identity:
            raise IndexProblem(
                f"The index was built with {self.manifest.embedder.name}, but {embedder.identity.name} is active. "
                "Rebuild it: python 3_rag/index.py"
            )
        try:
            self._passages = open_chroma(build / "chroma").get_collection(COLLECTION, embedding_function=None)
            self._bm25 = bm25s.BM25.load(build / "bm25", mmap=True)
            self._ids: list[str] = json.loads((build / "ids.json").read_text("utf-8"))
            self._titles: Vectors = np.load(build / "titles.npy", mmap_mode="r")
        except Exception as error:  # whatever Chroma, bm25s or numpy raise on a damaged file
            raise IndexProblem(
                f"The index in {build} is damaged ({type(error).__name__}). Rebuild it: python 3_rag/index.py --rebuild"
            ) from error
        self._row = {passage: row for row, passage in enumerate(self._ids)}

    def __len__(self) -> int:
        return len(self._ids)

    def dense(self, vector: Vectors, k: int, collections: Sequence[str] | None = None) -> dict[str, float]:
        """The `k` passages nearest to a query vector: id to cosine."""
        where = {"collection": {"$in": list(collections)}} if collections else None
        found = self._passages.query(
            query_embeddings=cast("Any", [vector]),
            n_results=min(k, len(self)),
            where=cast("Any", where),
            include=["distances"],
        )
        return {i: 1 - d for i, d in zip(found["ids"][0], (found["distances"] or [[]])[0], strict=True)}

    def lexical(self, words: Sequence[str], k: int) -> dict[str, float]:
        """The `k` best passages by BM25 for stemmed words: id to score. Passages that share no word are left out."""
        known = [w for w in words if w in self._bm25.vocab_dict]
        if not known:
            return {}
        rows, scores = self._bm25.retrieve([known], k=min(k, len(self)), show_progress=False)
        return {self._ids[row]: float(score) for row, score in zip(rows[0], scores[0], strict=True) if score > 0}

    def title_similarity(self, vector: Vectors, ids: Sequence[str]) -> npt.NDArray[np.float32]:
        """Cosine of a query vector to the title of each passage's document, shape (len(ids),)."""
        return np.asarray(self._titles[[self._row[i] for i in ids]] @ vector)

    def telling(self, words: Sequence[str], limit: int = 12) -> list[str]:
        """The rarest of these stemmed words in the index, rarest first: what a long message is about."""
        known = [w for w in dict.fromkeys(words) if w in self._bm25.vocab_dict]
        return sorted(known, key=self.rarity, reverse=True)[:limit]

    def rarity(self, word: str) -> float:
        """How much a stemmed word tells (idf); a word that stands nowhere in the index tells the most."""
        spread = self._spread(word) if word in self._bm25.vocab_dict else 0
        return math.log((len(self) + 1) / (spread + 1)) + 0.1

    def _spread(self, word: str) -> int:
        """How many passages hold a word."""
        column = self._bm25.vocab_dict[word]
        return int(self._bm25.scores["indptr"][column + 1] - self._bm25.scores["indptr"][column])

    def get(self, ids: Sequence[str]) -> dict[str, tuple[str, Mapping[str, Any]]]:
        """Text and metadata of passages by id."""
        found = self._passages.get(ids=list(ids), include=["documents", "metadatas"])
        return {
            i: (d, m) for i, d, m in zip(found["ids"], found["documents"] or [], found["metadatas"] or [], strict=True)
        }

    def vectors(self, ids: Sequence[str]) -> Vectors:
        """Stored vectors of passages, in the order of `ids`."""
        found = self._passages.get(ids=list(ids), include=["embeddings"])
        by_id = dict(zip(found["ids"], cast("Sequence[Vectors]", found["embeddings"]), strict=True))
        return np.asarray([by_id[i] for i in ids], dtype=np.float32)

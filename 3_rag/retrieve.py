"""A message -> candidate passages, by meaning (dense vectors) and by words (BM25), fused."""

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from clinical_data import load_lexicon
from document_terms import current_build
from entities import Conversation, Entity
from models import Embedder, embedder
from search_index import IndexProblem, SearchIndex, lexical_tokens
from settings import get_settings

Scores = npt.NDArray[np.float64 | np.float32]

CANDIDATES = 12
_POOL = 50  # passages that each half brings to the fusion
_LONG = 60  # words: a longer message is condensed to the sentences that hold findings or questions
_LEXICAL_WEIGHT = 0.5
_CLINICAL = {"SYMPTOM", "CRISIS", "CONDITION", "EVENT", "MEDICINE", "SUBSTANCE", "TEST", "PREGNANCY", "VITAL", "OTHER"}
_NAMED = {"SYMPTOM", "CRISIS", "CONDITION"}
# Below this score nothing was found. Set on questions of ours with and without an answer in the index; bge scores run higher, so its floor
# is a first guess until it is measured where bge can be had.
_COVERAGE_WEIGHT = 0.3  # how much the words in common count beside the cosine
_FLOOR = {"all-MiniLM-L6-v2": 0.52, "BAAI/bge-small-en-v1.5": 0.74}


@dataclass(frozen=True, slots=True)
class Query:
    """What is searched for: `text` by meaning, `words` (stemmed) by BM25."""

    text: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Passage:
    """One passage found. `score`: how near the question comes to it or to its title (cosine), plus 0.3 times the share of words covered."""

    id: str
    text: str
    title: str
    source: str
    url: str
    section: str
    score: float
    collection: str = ""
    licence: str = ""


def build_query(text: str, entities: Sequence[Entity], conversation: Conversation) -> Query:
    """The query for a message: findings that are absent are not searched for, a long message is condensed, a follow-up is read with the message before."""
    lexicon = load_lexicon()
    about = [e for e in entities if e.concept and e.label in _CLINICAL and e.status != "absent"]
    said = _without(text, [e for e in entities if e.status == "absent"])
    if len(said.split()) > _LONG:
        said = _condensed(said, about)
    if conversation.messages and (not about or len(text.split()) < 5):
        said = f"{_last_topic(conversation)} {said}"
    # Lay words get the field's name beside them: "slurring" is searched for as trouble speaking too.
    names = dict.fromkeys(lexicon.name(e.concept) for e in about if e.concept and e.label in _NAMED)
    named = ". ".join([said.strip(), *(name for name in names if name not in said.lower())])
    return Query(named, tuple(lexical_tokens([named])[0]))


def _without(text: str, entities: Sequence[Entity]) -> str:
    for e in sorted(entities, key=lambda e: -e.start):
        text = text[: e.start] + " " + text[e.end :]
    return text


def _condensed(text: str, about: Sequence[Entity]) -> str:
    telling = [e.text for e in about]
    sentences = re.split(r"(?<=[.!?\n])\s+", text)
    kept = [s for s in sentences if s.rstrip().endswith("?") or any(t in s for t in telling)]
    return " ".join(kept or sentences[:5])[:2000]


def _last_topic(conversation: Conversation) -> str:
    """The newest earlier message that was about something clinical."""
    for message, entities in zip(reversed(conversation.messages), reversed(conversation.entities), strict=True):
        if any(e.concept and e.label in _CLINICAL and e.status != "absent" for e in entities):
            return message[:500]
    return conversation.messages[-1][:500]


def search(query: Query, k: int = CANDIDATES, collections: Sequence[str] | None = None) -> list[Passage]:
    """The `k` best passages, best first; none where nothing comes near the question. Raises IndexProblem without an index."""
    model, index = embedder(), open_index()
    if not query.text or not len(index):
        return []
    vector = model.query(query.text)
    dense = index.dense(vector, _POOL, collections)
    lexical = index.lexical(index.telling(query.words), _POOL)
    found = index.get([*dict.fromkeys([*dense, *lexical])])
    ids = [i for i in found if not collections or found[i][1]["collection"] in collections]
    titles = index.title_similarity(vector, ids)
    # The words alone bring candidates whose cosine the dense half did not return.
    cosine = np.array([dense[i] if i in dense else float(index.vectors([i])[0] @ vector) for i in ids])
    fused = _z(cosine) + _z(titles) + _LEXICAL_WEIGHT * _z(np.array([lexical.get(i, 0.0) for i in ids]))
    best = [ids[n] for n in np.argsort(-fused, kind="stable")[:k]]
    nearness = dict(zip(ids, np.maximum(cosine, titles), strict=True))
    covered = _coverage(
        index, query.words, [f"{found[i][1]['title']} {found[i][1]['section']} {found[i][0]}" for i in best]
    )
    relevance = {i: float(nearness[i]) + _COVERAGE_WEIGHT * share for i, share in zip(best, covered, strict=True)}
    return [_passage(i, found[i], relevance[i]) for i in best if relevance[i] >= floor(model)]


def _coverage(index: SearchIndex, words: Sequence[str], texts: Sequence[str]) -> list[float]:
    """For each text, the share of what the question's words tell that stands in it, 0 to 1; a word that the index lacks is never covered."""
    weights = {word: index.rarity(word) for word in words}
    total = sum(weights.values()) or 1.0
    return [
        sum(w for word, w in weights.items() if word in tokens) / total for tokens in map(set, lexical_tokens(texts))
    ]


def floor(model: Embedder) -> float:
    """The score below which a passage has nothing to say to a question."""
    return _FLOOR.get(model.identity.name, 0.0)


def _z(scores: Scores) -> Scores:
    """Scores on one scale: mean 0, standard deviation 1."""
    return np.asarray((scores - scores.mean()) / (scores.std() or 1.0))


def _passage(passage: str, found: tuple[str, Mapping[str, str]], score: float) -> Passage:
    text, data = found
    return Passage(
        passage,
        text,
        data["title"],
        data["source"],
        data["url"],
        data["section"],
        round(max(score, 0.0), 4),
        data["collection"],
        data["licence"],
    )


_opening = threading.Lock()


def open_index() -> SearchIndex:
    """The index that serves now; a rebuild that ends while the chat runs is picked up here."""
    folder = get_settings().index_dir
    build = current_build(folder)
    if build is None:
        raise IndexProblem(f"There is no search index in {folder}. Build it: python 3_rag/index.py")
    with _opening:
        return _opened(build)


@lru_cache(maxsize=1)
def _opened(build: Path) -> SearchIndex:
    return SearchIndex(build, embedder())

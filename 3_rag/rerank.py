"""Query and candidate passages -> the best few, by the cross-encoder where it is installed; else the fused order stands."""

from collections.abc import Sequence

from models import reranker
from retrieve import Passage, Query


def rerank(query: Query, passages: Sequence[Passage], k: int) -> list[Passage]:
    """The best `k`, best first. A passage's `score` stays its cosine to the question."""
    model = reranker()
    if model is None or not passages:
        return list(passages[:k])
    scores = model.scores(query.text, [f"{p.title}. {p.section}. {p.text}" for p in passages])
    order = sorted(range(len(passages)), key=lambda i: -scores[i])
    return [passages[i] for i in order[:k]]

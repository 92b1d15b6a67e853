"""Documents -> passages to be: cut by section within what the embedder reads, and embedded with progress."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from documents import Document
from models import Embedder, Vectors

if TYPE_CHECKING:
    from scispacy.abbreviation import AbbreviationDetector
    from spacy.language import Language

_SLAB = 512  # passages embedded between two steps of the progress bar
_SPARE_TOKENS = 8


@dataclass(frozen=True, slots=True)
class Chunk:
    """One passage to be: `text` is shown, `search_text` (title, section, text, abbreviations spelled out) is embedded and searched."""

    id: str
    document: Document
    section: str
    text: str
    search_text: str


def cut(documents: Sequence[Document], model: Embedder) -> Iterator[Chunk]:
    """Passages: one a section, cut between sentences where it is longer than the embedder reads."""
    for document in tqdm(documents, desc="Cutting", unit="doc", disable=None, leave=False):
        long_forms = _abbreviations("\n".join(s.text for s in document.sections))
        number = 0
        for section in document.sections:
            head = ". ".join(part for part in (document.title, section.name) if part)
            room = model.max_tokens - model.count_tokens([head])[0] - _SPARE_TOKENS
            for text in _pieces(section.text, max(room, 32), model):
                spelled = [long for short, long in long_forms.items() if short in text and long not in text]
                search_text = f"{head}. {text}" + (f" ({'; '.join(spelled)})" if spelled else "")
                yield Chunk(
                    f"{document.collection}/{document.source}:{number}", document, section.name, text, search_text
                )
                number += 1


def _pieces(text: str, room: int, model: Embedder) -> Iterator[str]:
    """Whole lines or sentences, gathered up to `room` tokens; a single sentence over it stands alone and is cut by the embedder."""
    if not text.strip():
        return
    parts = [s.text for line in text.splitlines() if line.strip() for s in _sentencizer()(line.strip()).sents]
    gathered: list[str] = []
    used = 0
    for part, size in zip(parts, model.count_tokens(parts), strict=True):
        if gathered and used + size > room:
            yield "\n".join(gathered)
            gathered, used = [], 0
        gathered.append(part)
        used += size
    yield "\n".join(gathered)


@cache
def _sentencizer() -> "Language":
    import spacy

    nlp = spacy.blank("en")
    nlp.max_length = 50_000_000
    nlp.add_pipe("sentencizer")
    return nlp


@cache
def _abbreviation_detector() -> "AbbreviationDetector":
    from scispacy.abbreviation import AbbreviationDetector

    return AbbreviationDetector(_sentencizer())


def _abbreviations(text: str) -> dict[str, str]:
    """Short forms that a document defines, as in "deep vein thrombosis (DVT)": short to long."""
    detector, doc = _abbreviation_detector(), _sentencizer()(text)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\[W036\]")  # a text without brackets gives the detector nothing to match
        doc = detector(doc)
    return {short.text: short._.long_form.text for short in doc._.abbreviations}


def embedded(texts: Sequence[str], model: Embedder) -> Vectors:
    """Vectors of texts, shape (len(texts), dimension), with a progress bar."""
    # Longest first, so that a batch holds texts of one length and little is padded.
    order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
    vectors = np.empty((len(texts), model.dimension), dtype=np.float32)
    with tqdm(total=len(texts), desc="Embedding", unit="passage", disable=None) as bar:
        for start in range(0, len(order), _SLAB):
            slab = order[start : start + _SLAB]
            vectors[slab] = model.documents([texts[i] for i in slab])
            bar.update(len(slab))
    return vectors

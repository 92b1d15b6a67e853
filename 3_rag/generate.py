"""Passages and conversation -> a streamed, checked answer with citations.

With a language model (LLM_BASE_URL or HF_MODEL_REPO) its sentences are shown as they pass the checks; anything that fails hands over to
the extractive answer in the same turn. Without one the extractive answer is all there is: whole sentences from the passages.
"""

import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import httpx2
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError, InferenceTimeoutError

from entities import Conversation
from models import Choice, Vectors, embedder
from prompts import QUESTION, SYSTEM, reference_block
from retrieve import Passage
from screen import request, violations
from settings import Settings, get_settings
from triage import Reason, Triage

Finish = Literal["complete", "truncated", "interrupted", "refused", "failed", "abstained", "asked"]

FIRST_TOKEN_SECONDS = 20.0
WHOLE_ANSWER_SECONDS = 60.0
MAX_TOKENS = 400
MAX_WORDS = 180
_SUPPORT = 0.55  # cosine of a model's sentence to the passage sentence that supports it
_REPEAT = 0.85  # cosine at which two sentences say the same
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_CITATION = re.compile(r"\s*\[\d+(?:\s*,\s*\d+)*\]")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")
_MARKUP = re.compile(r"<[^>]*>|!\[[^\]]*\]\([^)]*\)|\[([^\]]*)\]\([^)]*\)|https?://\S+|<\|[^|]*\|>")


@dataclass(frozen=True, slots=True)
class Citation:
    """Number `n` in the answer stands for this page; `passage` is its place among the passages shown, 1 up, or None for a rule's source."""

    n: int
    title: str
    url: str
    passage: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The whole answer. `degraded` says what was used instead when a language model was asked for and failed."""

    text: str
    citations: tuple[Citation, ...]
    finish: Finish
    degraded: Choice | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Line:
    """A sentence on offer: where it comes from, its unit vector, and how close it is to the question."""

    text: str
    passage: int
    section: str
    vector: Vectors
    closeness: float


class GenerationFailed(RuntimeError):  # noqa: N818 - says what happened
    """The language model gave no usable answer; the message says what happened, and never holds the key."""


def answer(
    question: str, passages: Sequence[Passage], triage: Triage, conversation: Conversation
) -> Iterator[str | Answer]:
    """Sentences as they are ready, each with its citation number, then the Answer as the last item."""
    fixed = _fixed_answer(question, triage)
    if fixed:
        yield from _spoken(fixed)
        return
    degraded = None
    if passages and _has_model(get_settings()):
        try:
            yield from _generated(question, passages, triage, conversation)
        except GenerationFailed as failure:
            degraded = Choice("generator", "an extractive answer", str(failure), True)
        else:
            return
    for item in _extractive(question, passages, triage):
        yield replace(item, degraded=degraded) if isinstance(item, Answer) else item


# --- answers that need no search ---


def _fixed_answer(question: str, triage: Triage) -> Answer | None:
    asked_for = request(question)
    if asked_for == "lethal":
        cite = _Citations(())
        advice = [cite.reason(r.do, r.source.name, r.source.url) for r in triage.reasons[:1]]
        text = "I will not help with something that could cost a life. If you or someone else is in danger, contact the crisis line or emergency services now. Talking to someone helps."
        return Answer("\n".join([*advice, text]), cite.listed(), "refused")
    if triage.reasons:
        return None
    match triage.kind:
        case "greeting":
            return Answer(
                "Hello. Tell me what is wrong, in your own words: what you feel, since when, and how bad it is.",
                (),
                "asked",
            )
        case "unclear":
            return Answer(
                "I did not understand that. What is wrong? Tell me what you feel, where, and since when.", (), "asked"
            )
        case "other_language":
            return Answer(
                f"{triage.notice} I only understand English. If this may be an emergency, call the emergency number now.",
                (),
                "asked",
            )
        case "out_of_scope":
            return Answer(
                "I can only help with people's health. For a sick animal, call a vet. Is there something about your health that I can help with?",
                (),
                "refused",
            )
    return None


def _spoken(whole: Answer) -> Iterator[str | Answer]:
    yield from whole.text.split("\n")
    yield whole


# --- the extractive answer ---


def _extractive(question: str, passages: Sequence[Passage], triage: Triage) -> Iterator[str | Answer]:
    """What to do now, what it may be about, self-care, and when to get help: whole sentences, each cited, under MAX_WORDS words."""
    cite = _Citations(passages)
    said: list[str] = []
    if request(question) == "dose":
        said.append(
            "I cannot give a dose. A pharmacist or doctor can, and will want to know age, weight and other medicines."
        )
    said += [cite.reason(reason.do, reason.source.name, reason.source.url) for reason in _steps(triage)]
    said += [
        cite.passage(line.text, line.passage)
        for line in _chosen(question, passages, triage, sum(len(s.split()) for s in said))
    ]
    if not passages:
        said.append("I found no reference for this in my documents, so I cannot say more about it.")
    yield from said
    yield Answer("\n".join(said), cite.listed(), "complete" if passages else "abstained")


def _steps(triage: Triage) -> list[Reason]:
    """What to do now: one step where it is an emergency, else up to two that say different things."""
    steps: list[Reason] = []
    for reason in triage.reasons:
        words = set(reason.do.lower().split())
        repeats = any(len(words & set(s.do.lower().split())) > len(words) / 2 for s in steps)
        if reason.level == triage.level and not repeats:
            steps.append(reason)
    return steps[: 1 if triage.emergency else 2]


def _chosen(question: str, passages: Sequence[Passage], triage: Triage, used: int) -> list[_Line]:
    lines = [line for line in _lines(question, passages) if not violations(line.text)]
    order = _SECTION_ORDER[triage.level]
    chosen: list[_Line] = []
    best = max((line.closeness for line in lines), default=0.0)
    for section, most in order:
        candidates = sorted((x for x in lines if _part(x.section) == section), key=lambda x: (-x.closeness, x.passage))
        taken = 0
        for line in candidates:
            words = len(line.text.split())
            repeats = any(float(line.vector @ other.vector) > _REPEAT for other in chosen)
            if taken < most and not repeats and used + words <= MAX_WORDS and line.closeness >= best - 0.35:
                chosen.append(line)
                used, taken = used + words, taken + 1
    return chosen


# Which parts of a document to quote at each level, in what order, and how many sentences of each.
_SECTION_ORDER: dict[str, tuple[tuple[str, int], ...]] = {
    "HIGH": (("ambulance", 2), ("about", 2), ("signs", 2), ("do", 1)),
    "MEDIUM": (("about", 2), ("signs", 2), ("do", 3), ("doctor", 2), ("ambulance", 2)),
    "LOW": (("about", 2), ("signs", 2), ("do", 3), ("doctor", 2), ("ambulance", 2)),
}
_SECTION_PARTS = {
    "signs": "signs",
    "what you can do": "do",
    "when to see a doctor": "doctor",
    "when to call an ambulance": "ambulance",
}


def _part(section: str) -> str:
    """Which part of an answer a section serves; a section of another knowledge base is about the topic."""
    return _SECTION_PARTS.get(section.lower(), "about")


def _lines(question: str, passages: Sequence[Passage]) -> list[_Line]:
    """The sentences of all passages with their closeness to the question, repeats left out."""
    found: dict[str, tuple[int, str]] = {}
    for number, passage in enumerate(passages, 1):
        for line in passage.text.splitlines():
            text = line.strip()
            if len(text.split()) >= 4 and text[-1:] in ".!?":
                found.setdefault(text, (number, passage.section))
    if not found:
        return []
    model = embedder()
    asked = model.query(question[:2000])
    return [
        _Line(text, number, section, vector, float(vector @ asked))
        for (text, (number, section)), vector in zip(found.items(), model.documents(list(found)), strict=True)
    ]


class _Citations:
    """Numbers the sources of an answer in the order in which they are used."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._passages = passages
        self._used: dict[tuple[str, str, int | None], int] = {}

    def reason(self, sentence: str, title: str, url: str) -> str:
        """A rule's advice with the number of the rule's source."""
        return f"{sentence} [{self._number(title, url, None)}]"

    def passage(self, sentence: str, place: int) -> str:
        """A sentence with the number of the passage at `place` (1 up)."""
        passage = self._passages[place - 1]
        return f"{sentence} [{self._number(passage.title, passage.url, place)}]"

    def listed(self) -> tuple[Citation, ...]:
        return tuple(Citation(n, title, url, place) for (title, url, place), n in self._used.items())

    def _number(self, title: str, url: str, place: int | None) -> int:
        return self._used.setdefault((title, url, place), len(self._used) + 1)


# --- the language model's answer ---


def _has_model(settings: Settings) -> bool:
    return bool(settings.llm_base_url or settings.hf_model_repo)


def _client(settings: Settings) -> InferenceClient:
    if settings.llm_base_url:
        key = settings.llm_api_key.get_secret_value() if settings.llm_api_key else "none"
        return InferenceClient(base_url=settings.llm_base_url, api_key=key, timeout=FIRST_TOKEN_SECONDS)
    token = settings.hf_token.get_secret_value() if settings.hf_token else None
    return InferenceClient(
        model=settings.hf_model_repo,
        provider=settings.hf_provider,  # type: ignore[arg-type]  # any provider by its name
        token=token,
        timeout=FIRST_TOKEN_SECONDS,
    )


def _generated(
    question: str, passages: Sequence[Passage], triage: Triage, conversation: Conversation
) -> Iterator[str | Answer]:
    """The model's sentences that pass the checks. Raises GenerationFailed while nothing but the triage's advice has been said."""
    cite = _Citations(passages)
    said: list[str] = []
    check = _Check(question, passages, triage)
    finish: Finish = "interrupted"
    try:
        for sentence, reason in _sentences(_messages(question, passages, triage, conversation)):
            if reason:
                finish = "complete" if reason in ("stop", "eos_token") else "truncated"
            place = check.support(sentence)
            if place:
                if not said:
                    said = [cite.reason(r.do, r.source.name, r.source.url) for r in _steps(triage)]
                    yield from said
                said.append(cite.passage(_clean(sentence), place))
                yield said[-1]
    except _TRANSPORT_FAULTS as fault:
        if not said:
            raise GenerationFailed(_in_words(fault)) from fault
    if not said:
        raise GenerationFailed("the language model said nothing that the passages support")
    yield Answer("\n".join(said), cite.listed(), finish)


def _messages(
    question: str, passages: Sequence[Passage], triage: Triage, conversation: Conversation
) -> list[dict[str, str]]:
    earlier = [
        {"role": role, "content": _MARKUP.sub("", text)[:1000]}
        for message, reply in list(zip(conversation.messages, conversation.replies, strict=False))[-3:]
        for role, text in (("user", message), ("assistant", reply))
    ]
    prompt = QUESTION.substitute(
        level=triage.level,
        advice=" ".join(triage.advice),
        references=reference_block([(p.title, _MARKUP.sub("", p.text)) for p in passages]),
        question=_MARKUP.sub("", question),
    )
    return [{"role": "system", "content": SYSTEM}, *earlier, {"role": "user", "content": prompt}]


def _sentences(messages: list[dict[str, str]]) -> Iterator[tuple[str, str | None]]:
    """Whole sentences as the model speaks, the last with the reason it stopped. Raises the faults of _TRANSPORT_FAULTS."""
    settings = get_settings()
    # With a base URL the client's own model is the address; the name of the model goes with the call.
    model = settings.llm_model if settings.llm_base_url else None
    deadline = time.monotonic() + WHOLE_ANSWER_SECONDS
    text = ""
    client = _client(settings)  # held: a client that is let go closes its stream
    for chunk in client.chat_completion(messages, model=model, max_tokens=MAX_TOKENS, temperature=0.2, stream=True):
        if time.monotonic() > deadline:
            raise TimeoutError("the language model took too long")
        if not chunk.choices:
            continue
        text += chunk.choices[0].delta.content or ""
        *whole, text = _SENTENCE_END.split(text)
        yield from ((sentence, None) for sentence in whole if sentence.strip())
        if chunk.choices[0].finish_reason:
            yield text, chunk.choices[0].finish_reason
            return
    # A stream that ends without a reason was cut: what it had not finished saying is not said.
    raise ConnectionError("the language model's answer broke off")


_TRANSPORT_FAULTS = (HfHubHTTPError, InferenceTimeoutError, httpx2.HTTPError, OSError, json.JSONDecodeError, ValueError)


def _in_words(fault: BaseException) -> str:
    """A fault of the connection in words for a person, without addresses or keys."""
    if isinstance(fault, HfHubHTTPError) and fault.response is not None:
        return f"the language model's server answered {fault.response.status_code}"
    if isinstance(fault, httpx2.ConnectError):
        return "the language model's server could not be reached"
    if isinstance(fault, httpx2.TimeoutException | InferenceTimeoutError | TimeoutError):
        return "the language model took too long"
    return "the language model's answer broke off"


def _clean(sentence: str) -> str:
    return _CITATION.sub("", _MARKUP.sub(r"\1", sentence)).strip(" -*#\t")


class _Check:
    """Whether a model's sentence may be shown, and which passage supports it."""

    def __init__(self, question: str, passages: Sequence[Passage], triage: Triage) -> None:
        self._triage = triage
        self._lines = _lines(question, passages)
        self._numbers = set(_NUMBER.findall(" ".join(p.text for p in passages)))

    def support(self, sentence: str) -> int | None:
        """The place of the passage that says this, or None: too little, forbidden, a number of its own, or supported by nothing."""
        text = _clean(sentence)
        if not self._lines or len(text.split()) < 3 or violations(text) or set(_NUMBER.findall(text)) - self._numbers:
            return None
        vector = embedder().documents([text])[0]
        nearest = max(self._lines, key=lambda line: float(line.vector @ vector))
        return nearest.passage if float(nearest.vector @ vector) >= _SUPPORT else None

"""Free text -> entities with context: what was said, whether it is there, and about whom.

Lay words become concepts through the lexicon (`clinical/lexicon/`); a body part and a sensation in one clause become one finding
("my chest feels tight" -> chest_pressure); medspaCy's ConText, with rules of our own for lay language (`clinical/context.yaml`), tells
present from absent, past, imagined and family history; scispaCy's en_core_sci_sm adds spans where it is installed.
"""

import re
import warnings
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from typing import Literal

import spacy
from loguru import logger
from spacy.language import Language
from spacy.tokenizer import Tokenizer
from spacy.tokens import Doc, Span

from clinical_data import Level, load_context, load_lexicon
from document_terms import load_terms
from laboratory import Result, results
from measurements import Measurement, measurements, number_before
from models import entity_model
from phrases import Part, PhraseFinder, Token
from plain_text import PlainText, clean, plain
from scope import QUALITIES, Scope

logger.disable("medspacy")  # its debug lines hold the patient's text
logger.disable("PyRuSH")

Status = Literal["present", "absent", "past", "hypothetical", "uncertain"]
Subject = Literal["writer", "other", "family", "animal"]

_SENTENCE_ENDS = {".", "!", "?"}
FEVER = 38.0  # Celsius; NHS, High temperature (fever) in adults: https://www.nhs.uk/conditions/fever-in-adults/
_SELF = re.compile(
    r"\b(?:i (?:really |also |honestly |do |still )?(?:have|had|am|feel|felt|took|want|cant|got|keep|woke|fell|need|was|think|might|wont)|im (?!writing|studying|revising|working)|ive|my (?!novel|book|story|script|character|exam|homework|teacher|lecturer|class|hero|heroine)|me|mine|myself)\b"
)
TOPIC = "TOPIC"  # the label of what only names a document of the index
_COMPLAINTS = ("SYMPTOM", "CRISIS", "CONDITION", "EVENT", "SUBSTANCE")
_LONG_TALE = 60  # words
_PATIENT_HAS = 2  # findings that make somebody the patient of a message
_OWN_REACH = 5  # words between "I" or "my" and what the writer plainly has
_CHILD = 13.0  # years; younger people hardly write themselves
_ARTICLE = 6  # characters between "I'm" and an age: " a "
_BULLETS = {"-", "*", "\u2022", "\u2013", "\n"}
_WINDOW, _OVERLAP = (
    60,
    20,
)  # tokens: ConText is quadratic in length, so long unpunctuated text is read in overlapping windows


@dataclass(frozen=True, slots=True)
class Entity:
    """One thing said. `original[start:end] == text`; `value` is in the unit of its concept (years, hours, Celsius, mmHg, %, mmol/l).

    `owner`: whose it plainly is ("my knee", "he is 70"); None where that is not said.
    """

    text: str
    label: str
    start: int
    end: int
    status: Status = "present"
    subject: Subject = "writer"
    concept: str | None = None
    value: float | None = None
    sentence: int = 0
    owner: Literal["writer", "other"] | None = None


@dataclass(frozen=True)
class Conversation:
    """What came before this message, in this session. `answers` maps a follow-up question's id to yes, no or not sure."""

    messages: tuple[str, ...] = ()
    entities: tuple[tuple[Entity, ...], ...] = ()
    facts: tuple[Entity, ...] = ()
    answers: tuple[tuple[str, str], ...] = ()
    asked: tuple[str, ...] = ()
    level: Level = "LOW"
    replies: tuple[str, ...] = field(default=(), compare=False)


NEW_CONVERSATION = Conversation()


def extract(text: str) -> list[Entity]:
    """All entities of one message, in order of appearance."""
    return _reader().read(text)


@dataclass(frozen=True, slots=True)
class _Sentence:
    """Part of a message; `asks`: it ends in a question mark; `answered_no`: "Chest pain? None."."""

    tokens: list[Token]
    asks: bool
    answered_no: bool

    @property
    def norms(self) -> list[str]:
        return [t.norm for t in self.tokens]


class _Reader:
    """Holds what is built once a process: the phrase index, the spelling index and ConText."""

    def __init__(self) -> None:
        from medspacy.context import ConText, ConTextRule  # 2 to 4 s: only when the first message is read

        self._words = load_context()
        self._scope = Scope(self._words)
        self._selves = self._words.writer - {"my", "our"}  # "my mum" is not the writer
        self._told_of = self._words.scope["relatives"] | self._words.scope["others_told_of"]
        self._framing = re.compile(r"\b(?:" + "|".join(map(re.escape, self._words.framings)) + r")\b")
        self._nlp = Language(spacy.blank("en").vocab)
        self._nlp.tokenizer = Tokenizer(self._nlp.vocab)  # our tokens, split at spaces alone
        self._lexicon = load_lexicon()
        self._finder = PhraseFinder(self._lexicon, self._words, self._nlp.vocab, load_terms())
        self._context = ConText(self._nlp, rules=None, input_span_type="group", span_group_name="parts")
        self._context.add(
            [
                ConTextRule("#comma", "COMMA", direction="FORWARD", max_scope=1),
                *(
                    ConTextRule(
                        say,
                        rule.category,
                        direction=rule.direction,
                        allowed_types=rule.labels,
                        excluded_types=rule.not_labels,
                        terminated_by={"COMMA"} if rule.category == "NEGATED_EXISTENCE" else None,
                    )
                    for rule in self._words.rules
                    for say in rule.say
                ),
            ]
        )

    def read(self, text: str) -> list[Entity]:
        source = plain(text)
        sentences = self._sentences(self._finder.tokens(source))
        beings = self._beings(sentences)
        # In a long tale, what each person complains of so far: the others' pasts are asides.
        complaints: dict[str, set[str]] = defaultdict(set)
        long_tale = sum(len(s.tokens) for s in sentences) >= _LONG_TALE
        imagined = bool(self._framing.search(source.text))
        found: dict[tuple[int, int, str | None], Entity] = {}
        for number, sentence in enumerate(sentences):
            for part, entity in self._read_sentence(source, sentence, number, beings[number]):
                named = self._named(sentence, part)
                whose = sentence.norms[named] if named is not None else "writer"
                if named is not None and long_tale and self._tells_of_another(sentence, named, part, complaints):
                    entity = replace(entity, status="past")
                elif entity.label in _COMPLAINTS and entity.status in ("present", "uncertain"):
                    complaints[whose].add(entity.concept or "")
                # For an exam or a novel, unless the writer speaks of themselves.
                unreal = imagined and not self._speaks_of_self(sentence)
                found.setdefault((entity.start, entity.end, entity.concept), _imagined(entity) if unreal else entity)
        quoted = [e for r in results(source.text) for e in _result(source, r, sentences)]
        # "Urinalysis blood: moderate" names no bleeding.
        found = {k: e for k, e in found.items() if not any(q.start < e.end and e.start < q.end for q in quoted)}
        for entity in (*quoted, *self._measured(source, sentences), *_amounts(text, list(found.values()))):
            unreal = imagined and not self._speaks_of_self(sentences[entity.sentence])
            found.setdefault((entity.start, entity.end, entity.concept), _imagined(entity) if unreal else entity)
        for entity in _model_entities(text):
            if not any(e.start < entity.end and entity.start < e.end for e in found.values()):
                found[entity.start, entity.end, None] = entity
        return sorted((_without_fever(e, found.values()) for e in found.values()), key=lambda e: (e.start, e.end))

    def _sentences(self, tokens: list[Token]) -> list[_Sentence]:
        """The sentences of a message; a long one comes as overlapping windows.

        A line break ends a sentence only before a bullet or an empty line. Elsewhere it ends what a negation reaches, unless the line
        plainly goes on.
        """
        runs: list[tuple[list[Token], str]] = [([], "")]
        for token, following in pairwise([*tokens, Token("\n", 0, 0)]):
            run = runs[-1][0]
            if token.norm in _SENTENCE_ENDS or (token.norm == "\n" and following.norm in _BULLETS):
                if run:
                    runs[-1] = (run, token.norm)
                    runs.append(([], ""))
            elif token.norm == "\n":
                goes_on = not run or run[-1].norm in self._words.runs_on
                answer = run and run[-1].norm == "no" and any(t.norm in (":", "-", "?", "=") for t in run[-2:-1])
                run.append(token._replace(norm="#soft" if goes_on and not answer else "#line"))
            else:
                run.append(token)
        sentences = []
        for (run, ending), (after, _) in zip(runs, [*runs[1:], ([], "")], strict=True):
            if run:
                run.append(Token("#end", run[-1].end, run[-1].end))
            denied = (
                ending == "?"
                and len(after) < 3
                and bool({"none", "no", "nope", "nah", "not", "never"} & {t.norm for t in after[:1]})
                and after[-1].norm != "sure"
            )
            for start in range(0, max(1, len(run) - _OVERLAP), _WINDOW - _OVERLAP):
                if window := run[start : start + _WINDOW]:
                    sentences.append(_Sentence(window, ending == "?", denied))
        return sentences

    def _beings(self, sentences: Sequence[_Sentence]) -> list[Subject]:
        """For each sentence the last being named before it, whom "she" or "it" may mean."""
        last: Subject = "writer"
        before: list[Subject] = []
        for sentence in sentences:
            before.append(last)
            named = [self._being(word, sentence) for word in sentence.norms if word not in self._words.pronouns]
            last = next((b for b in reversed(named) if b), last)
        return before

    def _being(self, word: str, sentence: _Sentence) -> Subject | None:
        if word in self._words.people or (word.endswith("s") and word[:-1] in self._words.people):  # "my wifes"
            return "other"
        if word in self._words.animals and self._is_about_animal(word, sentence.norms):
            return "animal"
        # "my dog": the pet is whose it is about, not the writer.
        return "writer" if word in self._words.writer else None

    def _is_about_animal(self, animal: str, norms: list[str]) -> bool:
        """Not where it did something to a person, nor in "walking the dog"."""
        at = norms.index(animal)
        return not (self._words.animal_acts & set(norms) or self._words.with_animals & set(norms[max(0, at - 2) : at]))

    def _read_sentence(
        self, source: PlainText, sentence: _Sentence, number: int, last_being: Subject
    ) -> Iterator[tuple[Part, Entity]]:
        parts = self._finder.parts(sentence.tokens)
        for topic in self._finder.topics(sentence.tokens, parts):
            start, end = source.span(sentence.tokens[topic.start].start, sentence.tokens[topic.end - 1].end)
            found = Entity(source.original[start:end], TOPIC, start, end, concept=topic.concept.id, sentence=number)
            yield topic, found
        if not parts:
            return
        for part, status in zip(parts, self._statuses(sentence, parts), strict=True):
            subject = self._subject(sentence, part, last_being)
            if subject == "thing":  # "my laptop had a seizure" says nothing of a body
                continue
            start, end = source.span(sentence.tokens[part.start].start, sentence.tokens[part.end - 1].end)
            yield (
                part,
                Entity(
                    text=source.original[start:end],
                    label=part.concept.label,
                    start=start,
                    end=end,
                    status=status[0],
                    subject="family" if status[1] else subject,
                    concept=part.concept.id,
                    sentence=number,
                    owner=self._owner(sentence.norms[: part.start], subject),
                ),
            )

    def _statuses(self, sentence: _Sentence, parts: Sequence[Part]) -> Iterator[tuple[Status, bool]]:
        """For each part its status, and whether it is family history."""
        tokens = self._scope.with_stops(sentence.norms)
        doc = Doc(self._nlp.vocab, words=tokens, sent_starts=[i == 0 for i in range(len(tokens))])
        doc.spans["parts"] = [Span(doc, p.start, p.end, label=p.concept.label) for p in parts]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"\[W036\]")  # ConText's second matcher holds no rules of ours
            self._context(doc)
        general = self._is_general_question(sentence)
        for part, span in zip(parts, doc.spans["parts"], strict=True):
            if part.concept.label in QUALITIES:
                yield "present", False
                continue
            categories = {m.category for m in span._.modifiers if self._scope.acts(m, tokens, part, parts)}
            family = "FAMILY" in categories or self._scope.is_family_history(tokens, part)
            family &= not self._words.just_now & set(self._scope.clause_until(tokens, part.end))
            status = _status(categories, part, general, sentence.answered_no)
            if status == "past" and self._lexicon.lineage(part.concept.id) & self._words.lasting_conditions:
                status = "present"
            yield status, family

    def _speaks_of_self(self, sentence: _Sentence) -> bool:
        """ "I have", "my chest": but not "I'm writing my novel", where only what follows it counts."""
        text = " ".join(sentence.norms)
        framing = self._framing.search(text)
        return bool(_SELF.search(text, framing.end() if framing else 0))

    def _is_general_question(self, sentence: _Sentence) -> bool:
        """ "Is chest pain dangerous?" asks in general; "is my chest pain dangerous?" and "can barely breathe?" do not."""
        said = sentence.norms
        first, *rest = said[1:] if said[0] in ("but", "and", "so", "also") and len(said) > 1 else said
        if (
            first == "if"
            and {"starts", "start", "gets", "develops", "ever", "happens"} & set(rest)
            and "worse" not in rest
        ):
            return sentence.asks or bool({"should", "what"} & set(rest))
        openers = self._words.question_openers if sentence.asks else self._words.sure_question_openers
        personal = (self._words.writer | self._words.people) - self._words.people_in_general
        return (
            first in openers and not personal & set(rest) and not {"barely", "hardly", "just", "only"} & set(rest[:1])
        )

    def _named(self, sentence: _Sentence, part: Part) -> int | None:
        """Where the relative or acquaintance stands that was named last before a finding, with no writer or pronoun between."""
        for position in range(part.start - 1, -1, -1):
            word = sentence.norms[position]
            if word in self._told_of:
                return position
            if word in self._selves:
                return None
        return None

    def _tells_of_another(
        self, sentence: _Sentence, named: int, part: Part, complaints: Mapping[str, Collection[str]]
    ) -> bool:
        """Whether a finding is a tale of somebody else beside the patient of the message: "my neighbour went blind with it".

        Only where another person plainly is the patient, and only what is told in the past with nothing that says it is going on.
        """
        patients = {who for who, concepts in complaints.items() if len(concepts) >= _PATIENT_HAS}
        if not patients or sentence.norms[named] in patients:
            return False
        told = sentence.norms[named + 1 : part.end]
        after = self._scope.clause_until(sentence.norms, part.end)[part.end :]
        past = self._words.scope["told_in_past"]
        return any(w in past or (len(w) > 4 and w.endswith("ed")) for w in told) and not (
            self._words.scope["going_on_now"] & {*told, *after}
        )

    def _measured(self, source: PlainText, sentences: Sequence[_Sentence]) -> Iterator[Entity]:
        for m in measurements(source.text):
            start, end = source.span(m.start, m.end)
            number = _sentence_at(m.start, sentences)
            yield Entity(
                source.original[start:end],
                m.label,
                start,
                end,
                concept=m.concept,
                value=m.value,
                sentence=number,
                owner=self._whose_age(m, sentences[number].tokens) if m.concept == "age" and sentences else None,
            )

    def _whose_age(self, age: Measurement, tokens: Sequence[Token]) -> Literal["writer", "other"] | None:
        """ "I'm a 64-year-old woman"; else the last person named up to three words after it: "my dad, 70", "6 month old baby"."""
        before = [t.norm for t in tokens if t.start < age.end]
        after = [t.norm for t in tokens if t.start >= age.end]
        if age.value < _CHILD:
            return "other"
        if self._selves & {t.norm for t in tokens if 0 <= age.start - t.end <= _ARTICLE}:
            return "writer"
        named = next((w for w in reversed([*before, *after[:3]]) if w in self._words.people | self._selves), None)
        return None if named is None else "other" if named in self._words.people else "writer"

    def _owner(self, before: list[str], subject: Subject) -> Literal["writer", "other"] | None:
        """Whose a finding plainly is. In "I found his rash" and "I can't wake" the writer only tells of it."""
        if subject == "other":
            return "other"
        near = before[-_OWN_REACH:]
        said = max((i for i, word in enumerate(near) if word in self._words.writer), default=None)
        if subject != "writer" or said is None or any(word[0].isdigit() for word in near[said:]):
            return None  # "my 9 year old"
        return None if self._words.scope["telling"] & set(near[said:]) else "writer"

    def _subject(self, sentence: _Sentence, part: Part, last_being: Subject) -> Subject | Literal["thing"]:
        before = sentence.norms[: part.start]
        for position in range(len(before) - 1, -1, -1):
            if (
                before[position] in self._words.things
                and len(before) - position <= 5
                and self._words.thing_verbs & set(sentence.norms[position + 1 : position + 3])
            ):
                return "thing"
            word = before[position]
            if word in self._words.pronouns:
                named = [
                    b for w in before[:position] if w not in self._words.pronouns and (b := self._being(w, sentence))
                ]
                meant = next((b for b in reversed(named) if b != "writer"), last_being)
                if meant == "animal" or word not in ("it", "its"):
                    return "animal" if meant == "animal" else "other"
            elif being := self._being(word, sentence):
                return being
        return "writer"


def _imagined(entity: Entity) -> Entity:
    return replace(entity, status="hypothetical") if entity.status in ("present", "uncertain") else entity


def _status(categories: set[str], part: Part, general_question: bool, answered_no: bool) -> Status:
    if general_question and part.concept.label != "CRISIS":  # "what's the easiest way to die" is no general question
        return "hypothetical"
    if part.denied or answered_no or "NEGATED_EXISTENCE" in categories:
        return "absent"
    if "HYPOTHETICAL" in categories:
        return "hypothetical"
    if categories & {"HISTORICAL", "RECENT_PAST", "WHEN_YOUNG", "ENDED"}:
        return "past"
    return "uncertain" if "POSSIBLE_EXISTENCE" in categories else "present"


def _result(source: PlainText, result: Result, sentences: Sequence[_Sentence]) -> Iterator[Entity]:
    """A laboratory result: its value, and how it stands to the range beside it."""
    start, end = source.span(result.start, result.end)
    number = _sentence_at(result.start, sentences)
    found = Entity(source.original[start:end], "TEST", start, end, sentence=number)
    if result.value is not None or result.flag != "result_normal":  # "nitrites: negative" is no nitrites
        yield replace(found, concept=result.test, value=result.value)
    if result.flag:
        yield replace(found, concept=result.flag)


def _sentence_at(position: int, sentences: Sequence[_Sentence]) -> int:
    return next((n for n, s in enumerate(sentences) if s.tokens[-1].end > position), 0)


def _amounts(text: str, entities: Sequence[Entity]) -> Iterator[Entity]:
    """How many of a medicine: "took 30 tramadol"."""
    for medicine in entities:
        if medicine.label == "MEDICINE":
            before = text[max(0, medicine.start - 40) : medicine.start]
            for start, value in number_before(before):
                begin = medicine.start - len(before) + start
                yield Entity(
                    text[begin : medicine.end],
                    "QUANTITY",
                    begin,
                    medicine.end,
                    subject=medicine.subject,
                    concept="amount",
                    value=value,
                    sentence=medicine.sentence,
                )


def _without_fever(entity: Entity, all_of_them: Collection[Entity]) -> Entity:
    """The word "fever" or "temp" beside a measurement below FEVER says that there is none."""
    if entity.concept != "fever":
        return entity
    measured = [e.value or 0 for e in all_of_them if e.concept == "temperature" and e.sentence == entity.sentence]
    return replace(entity, status="absent") if measured and max(measured) < FEVER else entity


def _model_entities(text: str) -> Iterator[Entity]:
    """Spans of scispaCy's model, where it is installed. They carry no concept, so no rule rests on them."""
    model = entity_model()
    if model is None:
        return
    for span in model(clean(text)).ents:
        yield Entity(text[span.start_char : span.end_char], span.label_, span.start_char, span.end_char)


@cache
def _reader() -> _Reader:
    return _Reader()

"""Entities -> urgency: the level, the rules that fired with the person's own words, and the questions to ask next.

Run      python 3_rag/triage.py --explain "my chest feels tight"      what was understood, which rules fired, which nearly did, and why

Rules are data (`clinical/rules/`), each with a public source. Absent, imagined, long-past findings and family history never count; an
absent finding never hides a present one. Nothing typed ever lowers a level that the conversation has reached. No model, no network.
"""

import argparse
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from clinical_data import (
    LEVELS,
    Alternative,
    ForeignLanguage,
    Level,
    Limit,
    Rule,
    Source,
    Term,
    load_context,
    load_languages,
    load_lexicon,
    load_rules,
)
from entities import FEVER, NEW_CONVERSATION, TOPIC, Conversation, Entity, extract

Kind = Literal["symptom", "information", "greeting", "unclear", "other_language", "out_of_scope"]

_GREETING = re.compile(
    r"\W*(?:(?:hi+|hello+|hey+|hiya|yo|good (?:morning|afternoon|evening|day|night)|greetings|howdy|thanks?(?: you)?(?: so much| very much)?|thx|ty|cheers|bye|goodbye|ok(?:ay)?|cool|great|nice|how are you(?: doing)?|"
    r"there|doctor|doc|mediassist|everyone|all|who are you|what can you do|what are you|are you (?:a )?(?:real|human|bot|robot|doctor))\W*)+",
    re.I,
)
_QUESTION = re.compile(
    r"^\W*(?:what|how|why|when|which|who|where|can|could|is|are|does|do|did|should|will|would|tell me|explain|any|am i|have you|i(?:'d| would) like to know|i(?:'m| am) (?:studying|wondering|curious)|define|difference|meaning)\b|\?\s*$",
    re.I | re.M,
)
_ASKS = frozenset(
    {
        "write",
        "tell",
        "make",
        "give",
        "explain",
        "translate",
        "summarise",
        "summarize",
        "recommend",
        "suggest",
        "help",
        "please",
    }
)
_BODILY = re.compile(
    r"\b(?:i(?:'m| am|'ve| have)?(?: been)? (?:feel|feeling|got|having|suffer\w*|get|getting|experienc\w+|sick|ill|unwell|dizzy|hurt\w*)|i have (?:a|an|this|some|had)|"
    r"my (?:\w+ ){1,4}(?:hurts?|aches?|feels?|stings?|itches|bleeds?|throbs?)|my (?:\w+ ){1,3}(?:is|are|has gone|went) (?:sore|swollen|numb|bleeding|itchy|painful|red|hot|stiff|tingling|blue|purple))\b",
    re.I,
)
_SAYS_LITTLE = ("SEVERITY", "ONSET", "COURSE", "DURATION", "AGE", "SEX")
_CLINICAL = ("SYMPTOM", "CRISIS", "CONDITION", "EVENT", "SUBSTANCE")


@dataclass(frozen=True, slots=True)
class Reason:
    """A rule that fired: why it matters, what to do, the words that fired it, and the public source it rests on."""

    rule: str
    level: Level
    emergency: bool
    why: str
    do: str
    evidence: tuple[str, ...]
    source: Source
    kind: Literal["medical", "crisis", "poison"] = "medical"


@dataclass(frozen=True, slots=True)
class FollowUp:
    """A question whose answer, yes or no, would decide rule `id`."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Triage:
    """How urgent it is. `emergency` is true exactly when the advice is an ambulance or a crisis line now."""

    level: Level
    emergency: bool
    kind: Kind
    reasons: tuple[Reason, ...]
    follow_up: tuple[FollowUp, ...]
    notice: str | None = None

    @property
    def advice(self) -> tuple[str, ...]:
        """What to do now, the most urgent first, without repeats."""
        return tuple(dict.fromkeys(r.do for r in self.reasons if r.level == self.level))


@dataclass(frozen=True, slots=True)
class _Findings:
    """What counts towards a rule: for each concept and all that is broader, where it was said (message, sentence) and the entity."""

    of: Mapping[str, Sequence[tuple[tuple[int, int], Entity]]]

    def meeting(self, alternative: Alternative) -> list[Entity]:
        """The entities that meet "a & b" (all in one sentence), or nothing."""
        hits = [self.of.get(concept, ()) for concept in alternative]
        if not all(hits):
            return []
        shared = set.intersection(*({where for where, _ in hit} for hit in hits))
        if not shared:
            return []
        sentence = min(shared)
        return [next(e for where, e in hit if where == sentence) for hit in hits]

    def measured(self, limits: Sequence[Limit]) -> list[Entity]:
        """The measurements that each cross all `limits`, which are of one concept."""
        found = self.of.get(limits[0].concept, ())
        return [e for _, e in found if e.value is not None and all(limit.met(e.value) for limit in limits)]

    def first(self, term: Term) -> list[Entity]:
        """The entities of the first alternative that is met, or nothing."""
        return next((hit for alternative in term if (hit := self.meeting(alternative))), [])


@dataclass(frozen=True, slots=True)
class _Match:
    """A rule and how far it is met: by what, which of its parts it still lacks, and what held it back."""

    rule: Rule
    evidence: tuple[Entity, ...]
    lacks: tuple[Term | tuple[Limit, ...], ...] = ()
    held_by: tuple[Entity, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the rule fires."""
        return not self.lacks and not self.held_by

    @property
    def askable(self) -> bool:
        """Whether one answer, to what its `any` part names, would make it fire."""
        return self.lacks == (self.rule.any_of,) and not self.held_by


@dataclass(frozen=True, slots=True)
class NearMiss:
    """A rule that did not fire although the message held part of what it needs."""

    rule: Rule
    evidence: tuple[str, ...]
    lacks: tuple[str, ...]
    held_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a message got its level: what was read, what fired, and what nearly did, the most urgent first."""

    entities: tuple[Entity, ...]
    triage: Triage
    near: tuple[NearMiss, ...]


def assess(text: str, entities: Sequence[Entity], conversation: Conversation = NEW_CONVERSATION) -> Triage:
    """The urgency of the conversation with this message as its last.

    `entities` are those of `text`; earlier messages bring theirs in `conversation`.
    """
    # Which documents are indexed decides nothing about urgency.
    entities = [e for e in entities if e.label != TOPIC]
    language = other_language(text, entities)
    messages = (*conversation.entities, entities)
    findings = _findings(messages, conversation.facts)
    answers = dict(conversation.answers)
    matches = list(_matches(findings))
    fired = [m for m in matches if m.complete or (m.askable and answers.get(m.rule.id) == "yes")]
    reasons = [_reason(m) for m in fired if m.rule.level != "LOW"] or [
        *(_reason(m) for m in fired),
        *_not_understood([e for m in messages for e in _present(m)], fired),
    ]
    kind = _kind(text, entities, conversation, reasons, language)
    if not reasons and kind == "symptom":
        reasons = [_unknown(())]
    level = max((*(r.level for r in reasons), conversation.level), key=LEVELS.index)
    if kind == "other_language" and level == "LOW":
        level = "MEDIUM"
    return Triage(
        level=level,
        emergency=any(r.emergency for r in reasons),
        kind=kind,
        reasons=tuple(sorted(reasons, key=lambda r: (-LEVELS.index(r.level), not r.emergency))),
        follow_up=_questions(matches, level, conversation),
        notice=language.notice if language else None,
    )


def _findings(messages: Iterable[Sequence[Entity]], facts: Sequence[Entity]) -> _Findings:
    lexicon = load_lexicon()
    of: dict[str, list[tuple[tuple[int, int], Entity]]] = defaultdict(list)

    def count(where: tuple[int, int], entity: Entity) -> None:
        for concept in lexicon.lineage(entity.concept or ""):
            of[concept].append((where, entity))
        if entity.concept == "temperature" and (entity.value or 0) >= FEVER:
            of["fever"].append((where, entity))

    for number, entities in enumerate(messages):
        resolved = {e.sentence for e in entities if e.concept == "resolved"}
        old = {e.sentence for e in entities if e.concept == "old_event"}
        for e in entities:
            recent_past = e.status == "past" and e.sentence in resolved - old
            there = e.status in ("present", "uncertain") or recent_past
            if e.concept and e.subject in ("writer", "other") and there:
                count((number, e.sentence), e)
    for fact in facts:
        count((-1, 0), fact)
    return _Findings(of)


def explain(text: str) -> Explanation:
    """All that decided the level of one message that stands alone."""
    entities = extract(text)
    triage = assess(text, entities)
    findings = _findings([entities], ())
    near = [m for m in _matches(findings) if not m.complete and _nearly(m)]
    return Explanation(
        tuple(entities),
        triage,
        tuple(
            NearMiss(m.rule, _words(m.evidence), tuple(_lacking(m.rule, part) for part in m.lacks), _words(m.held_by))
            for m in near
        ),
    )


def _nearly(match: _Match) -> bool:
    """Held back, or one thing short of firing while something clinical was there."""
    clinical = any(e.label in _CLINICAL or e.label == "TEST" for e in match.evidence)
    return clinical and not (match.held_by and match.lacks)


def _matches(findings: _Findings) -> Iterator[_Match]:
    """Every rule that is met or one thing short of it, the most urgent first."""
    about = _rules_about()
    for number in sorted({n for concept in findings.of for n in about.get(concept, ())}):
        if match := _match(load_rules()[number], findings):
            yield match


@cache
def _rules_about() -> Mapping[str, Sequence[int]]:
    """For each concept the rules that it can help to fire, by their place in load_rules()."""
    about: dict[str, list[int]] = defaultdict(list)
    for number, rule in enumerate(load_rules()):
        terms = (*rule.all_of, rule.any_of, tuple((limits[0].concept,) for limits in rule.limits))
        for concept in {c for term in terms for alternative in term for c in alternative}:
            about[concept].append(number)
    return about


def _match(rule: Rule, findings: _Findings) -> _Match | None:
    """How far a rule is met; None where nothing that it needs is there, or more than one thing is lacking."""
    evidence: list[Entity] = []
    lacks: list[Term | tuple[Limit, ...]] = []
    for term in rule.all_of:
        hit = findings.first(term)
        evidence += hit
        if not hit:
            lacks.append(term)
        if len(lacks) > 1 or not evidence:
            return None
    for limits in rule.limits:
        concept = limits[0].concept
        met = findings.measured(limits)
        if concept == "duration":
            # How long it has been counts where it is said of the finding, not of something else.
            met = [m for m in met if not evidence or any(abs(m.sentence - e.sentence) <= 1 for e in evidence)]
        if concept == "age":
            met = [m for m in met if _same_person(m, evidence)]
        evidence += met
        if not met:
            lacks.append(limits)
    supporting = [e for alternative in rule.any_of for e in findings.meeting(alternative)]
    if rule.any_of and len({e.concept for e in supporting}) < rule.count:
        lacks.append(rule.any_of)
    if len(lacks) > 1 or not (evidence or supporting):
        return None
    held_by = findings.first(rule.unless)
    return _Match(rule, tuple(evidence + supporting), tuple(lacks), tuple(held_by))


def _same_person(age: Entity, evidence: Sequence[Entity]) -> bool:
    """Whether an age may be that of the person who has the findings: not where all of them are plainly somebody else's."""
    owners = {e.owner for e in evidence if e.label in _CLINICAL}
    return not owners or age.owner is None or None in owners or age.owner in owners


def _lacking(rule: Rule, part: Term | tuple[Limit, ...]) -> str:
    """What a rule lacks, in plain words."""
    limits = [x for x in part if isinstance(x, Limit)]
    if limits:
        return f"{load_lexicon().name(limits[0].concept)} {' and '.join(f'{x.compare} {x.value:g}' for x in limits)}"
    count = f"{rule.count} of: " if part is rule.any_of and rule.count > 1 else ""
    return count + _plain(tuple(x for x in part if not isinstance(x, Limit)))


def _plain(term: Term) -> str:
    """ "chest pain, or headache with fever"."""
    lexicon = load_lexicon()
    return ", or ".join(" with ".join(lexicon.name(c) for c in alternative) for alternative in term)


def _reason(match: _Match) -> Reason:
    rule = match.rule
    return Reason(
        rule.id, rule.level, rule.emergency, rule.why, rule.do, _words(match.evidence), rule.source, rule.kind
    )


def _words(evidence: Iterable[Entity]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(e.text for e in evidence))


def _questions(matches: Sequence[_Match], level: Level, conversation: Conversation) -> tuple[FollowUp, ...]:
    """At most three, the most dangerous first, only those that could still raise the level, and none that was asked before."""
    known = {*conversation.asked, *(rule for rule, _ in conversation.answers)}
    raising = [m.rule for m in matches if m.askable and LEVELS.index(m.rule.level) > LEVELS.index(level)]
    return tuple(FollowUp(rule.id, rule.ask) for rule in raising if rule.ask and rule.id not in known)[:3]


def _kind(
    text: str,
    entities: Sequence[Entity],
    conversation: Conversation,
    fired: Sequence[Reason],
    language: ForeignLanguage | None,
) -> Kind:
    if fired and any(r.level != "LOW" for r in fired):
        return "symptom"
    if not any(c.isalpha() for c in text) or len(text.strip()) < 2:
        return "unclear"
    if language:
        return "other_language"
    if _GREETING.fullmatch(text):
        return "greeting"
    if any(e.subject == "animal" for e in entities) and not _present(entities):
        return "out_of_scope"
    if _present(entities) or conversation.answers:
        return "symptom"
    asked_about = any(e.status == "hypothetical" or e.subject == "family" for e in entities)
    if not asked_about and (_BODILY.search(text) or _tells_of_someone(text, entities)):
        return "symptom"
    if any(e.concept and e.label not in _SAYS_LITTLE for e in entities):
        return "information"
    # A question that holds no word of ours may still be about health: the search decides whether there is an answer.
    first = text.split(maxsplit=1)[0].lower()
    return "information" if first not in _ASKS and (conversation.messages or _QUESTION.search(text)) else "out_of_scope"


def _tells_of_someone(text: str, entities: Sequence[Entity]) -> bool:
    """A statement about a person in which no complaint was recognised, with something medical in it or of some length: not known to be harmless.

    What is only past was recognised; a list of what is absent suggests a complaint that was not.
    """
    if any(e.concept in ("improving", "figure_of_speech") or e.status == "past" for e in entities):
        return False
    medical = any(e.concept and e.label not in ("ASIDE", "AGE", "SEX") for e in entities)
    about = {"i", "i'm", "i've", "my", "he", "she", "he's", "she's", "his", "her", "they"} | load_context().people
    asides = [e.text.lower() for e in entities if e.label == "ASIDE"]
    for said in re.findall(r"[^.!?\n]+(?:[.!\n]+|$)", text.lower()):
        statement = said
        for aside in asides:
            statement = statement.replace(aside, " ")
        words = re.findall(r"[a-z']+", statement)
        if (
            len(words) >= (5 if medical else 8)
            and about & set(words)
            and words[0] not in _ASKS
            and not _QUESTION.search(statement)
        ):
            return True
    return False


def _present(entities: Sequence[Entity]) -> list[Entity]:
    return [
        e
        for e in entities
        if e.concept
        and e.label in _CLINICAL
        and e.status in ("present", "uncertain")
        and e.subject in ("writer", "other")
    ]


def _not_understood(present: Sequence[Entity], fired: Sequence[_Match]) -> list[Reason]:
    """Self-care is enough only for what some self-care rule knows: anything else that is there is MEDIUM, never LOW by default."""
    lexicon, used = load_lexicon(), [e for m in fired for e in m.evidence]
    unknown = [e for e in present if not lexicon.lineage(e.concept or "") & _self_care_concepts()]
    if fired:  # beside self-care that fits, only a further symptom counts, and not one that is part of what fits
        unknown = [
            e
            for e in unknown
            if e.label == "SYMPTOM"
            and not lexicon.is_bare_sensation(e.concept)
            and not any(_overlap(e, u) for u in used)
        ]
    return [_unknown(unknown)] if unknown else []


def _overlap(a: Entity, b: Entity) -> bool:
    return a.sentence == b.sentence and a.start < b.end and b.start < a.end


def _unknown(entities: Sequence[Entity]) -> Reason:
    return Reason(
        "not-understood",
        "MEDIUM",
        False,
        "This may matter, and the rules here do not know it well enough to say that it can wait.",
        "Ask a doctor, nurse or pharmacist about this within a day or two, sooner if it gets worse.",
        _words(entities),
        Source(
            "NHS, When to use NHS 111",
            "https://www.nhs.uk/nhs-services/urgent-and-emergency-care-services/when-to-use-111/",
        ),
    )


@cache
def _self_care_concepts() -> frozenset[str]:
    """Every concept that a LOW rule names."""
    terms = [term for rule in load_rules() if rule.level == "LOW" for term in (*rule.all_of, rule.any_of)]
    return frozenset(concept for term in terms for alternative in term for concept in alternative)


def other_language(text: str, entities: Sequence[Entity]) -> ForeignLanguage | None:
    """The language of a message, or of a sentence of it, that is not English, by its script or by several of its commonest words; None for English."""
    letters = [c for c in text if c.isalpha()]
    # What we read in it was English.
    read = {
        word for e in entities if e.concept and e.text.isascii() and e.status == "present" for word in _letters(e.text)
    }
    sentences = [_letters(sentence) for sentence in re.split(r"[.!?\n]", text)]
    for language in load_languages():
        if language.script:
            if not text.isascii() and len(re.findall(f"[{language.script}]", text)) * 2 > len(letters) > 0:
                return language
            continue
        for words in sentences:
            known = [w for w in words if w in language.words]
            if (
                len(known) * 3 >= len(words)
                and len(known) >= min(2, len(words))
                and words
                and (len(known) > 1 or not read)
            ):
                return language
    return None


def _letters(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", text.lower())


# --- the command ---


def main(argv: Sequence[str] | None = None) -> int:
    """Print why a message gets its level."""
    parser = argparse.ArgumentParser(description="Decide how urgent a message is, and show why.")
    parser.add_argument(
        "--explain", metavar="MESSAGE", required=True, help="what is wrong, in plain English, in quotes"
    )
    parser.add_argument("--all", action="store_true", help="list every rule that nearly fired, not the ten most urgent")
    args = parser.parse_args(argv)
    print(explained(explain(args.explain), None if args.all else 10))
    return 0


def explained(explanation: Explanation, most: int | None = 10) -> str:
    """An explanation as text; `most` near misses at most."""
    triage = explanation.triage
    lines = [
        f"Urgency: {triage.level}" + (", emergency" if triage.emergency else "") + f" ({triage.kind})",
        "",
        "Understood",
    ]
    for e in explanation.entities:
        value = "" if e.value is None else f" = {e.value:g}"
        lines.append(f"  {e.text!r}: {load_lexicon().name(e.concept or e.label)}{value} ({e.status}, {e.subject})")
    lines += ["  nothing"] if not explanation.entities else []
    lines += ["", "Rules that fired"]
    for r in triage.reasons:
        lines += [
            f"  {r.level} {r.rule}: {r.why}",
            f"      from {', '.join(map(repr, r.evidence)) or 'the message as a whole'}",
        ]
        lines += [f"      {r.source.name} {r.source.url}"]
    lines += ["  none"] if not triage.reasons else []
    lines += ["", "Rules that nearly fired"]
    for n in explanation.near[:most]:
        why = f"held back by {', '.join(map(repr, n.held_by))}" if n.held_by else f"lacks {n.lacks[0]}"
        lines += [f"  {n.rule.level} {n.rule.id}: has {', '.join(map(repr, n.evidence))}; {why}"]
        lines += [f"      {n.rule.source.name} {n.rule.source.url}"]
    more = len(explanation.near) - len(explanation.near[:most])
    lines += ["  none"] if not explanation.near else []
    lines += [f"  and {more} more (--all)"] if more else []
    lines += [f"To ask next: {q.text}" for q in triage.follow_up]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

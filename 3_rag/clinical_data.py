"""Reads the clinical content in `clinical/` into typed, frozen objects, and refuses content that does not hold together.

Content is data so that a clinician can audit it without reading code: `lexicon/` (lay and clinical words to concepts), `rules/` (triage),
`context.yaml` (absent, past, imagined, someone else), `places.yaml` (emergency and crisis numbers), `languages.yaml` (notices).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import groupby, product
from pathlib import Path
from typing import Any, Literal

import yaml

from measurements import CONCEPTS as MEASURED

CLINICAL = Path(__file__).resolve().parent / "clinical"
Level = Literal["LOW", "MEDIUM", "HIGH"]
LEVELS: tuple[Level, ...] = ("LOW", "MEDIUM", "HIGH")
# How a laboratory result stands to the range quoted beside it (laboratory.py); rules may name these.
RESULT_FLAGS = frozenset({"result_critical", "result_high", "result_low", "result_abnormal", "result_normal"})


class ClinicalDataError(ValueError):
    """The clinical content contradicts itself; the message names the file and the item."""


@dataclass(frozen=True, slots=True)
class Source:
    """A public body's page that a piece of clinical content rests on."""

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class Frame:
    """A way to say a concept in pieces: each slot is filled by one of its ids. `ordered`: in this order, else in any."""

    concept: str
    slots: tuple[tuple[str, ...], ...]
    ordered: bool


@dataclass(frozen=True, slots=True)
class Concept:
    """One meaning, with the words for it. `parents` are broader concepts: a rule on a parent also sees this one.

    A piece is a class of words ("slid", "sagged") that means nothing alone; frames put pieces together.
    """

    id: str
    name: str
    label: str
    kind: Literal["concept", "site", "sensation", "piece"]
    say: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Lexicon:
    """All concepts by id, which finding a body part and a sensation make together, and what else is said in pieces."""

    concepts: Mapping[str, Concept]
    pairs: Mapping[tuple[str, str], str]
    frames: tuple[Frame, ...] = ()

    def finding(self, site: Concept, sensation: Concept) -> Concept:
        """The finding that `sensation` at `site` makes; what spreads to a site counts as pain there."""
        feels = "pain" if sensation.id == "radiation" else sensation.id
        named = self.pairs.get((site.id, feels))
        if named:
            return self.concepts[named]
        return Concept(
            f"{site.id}_{feels}", f"{site.name} {self.concepts[feels].name}", "SYMPTOM", "concept", parents=(feels,)
        )

    def site_of(self, concept: str) -> str | None:
        """The body part of a finding that names one, such as chest for chest_pain."""
        return next((site for (site, _), named in self.pairs.items() if named == concept), None)

    @cache  # noqa: B019 - the lexicon lives as long as the process
    def lineage(self, concept: str) -> frozenset[str]:
        """The concept and all that is broader than it. A made finding (site_sensation) is broader by its sensation."""
        known = self.concepts.get(concept)
        parents = known.parents if known else self._made(concept)
        return frozenset({concept}).union(*(self.lineage(p) for p in parents))

    def exists(self, concept: str) -> bool:
        """Whether a rule may name this: a concept, or a site and a sensation joined by an underscore."""
        return concept in self.concepts or bool(self._made(concept))

    def name(self, concept: str) -> str:
        """Plain words for a concept."""
        known = self.concepts.get(concept)
        return known.name if known else concept.replace("_", " ")

    def is_bare_sensation(self, concept: str | None) -> bool:
        """Whether this is a sensation without a place, such as pain."""
        return concept is not None and self._is(concept, "sensation")

    def _made(self, concept: str) -> tuple[str, ...]:
        for at in range(len(concept)):
            site, sensation = concept[:at], concept[at + 1 :]
            if concept[at] == "_" and self._is(site, "site") and self._is(sensation, "sensation"):
                return (sensation,)
        return ()

    def _is(self, concept: str, kind: str) -> bool:
        return concept in self.concepts and self.concepts[concept].kind == kind


@dataclass(frozen=True, slots=True)
class ContextRule:
    """Phrases that change the status or subject of what stands near them (medspaCy ConText)."""

    category: str
    direction: str
    say: tuple[str, ...]
    labels: frozenset[str] | None = None
    not_labels: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class ContextData:
    """What `context.yaml` holds."""

    rules: tuple[ContextRule, ...]
    fillers: frozenset[str]
    soft_fillers: frozenset[str]
    distinct: frozenset[str]
    aliases: Mapping[str, str]
    after_number: Mapping[str, str]
    list_words: frozenset[str]
    list_openers: frozenset[str]
    runs_on: frozenset[str]
    light: frozenset[str]
    question_openers: frozenset[str]
    sure_question_openers: frozenset[str]
    writer: frozenset[str]
    just_now: frozenset[str]
    people: frozenset[str]
    people_in_general: frozenset[str]
    animals: frozenset[str]
    pronouns: frozenset[str]
    with_animals: frozenset[str]
    lasting_conditions: frozenset[str]
    animal_acts: frozenset[str]
    things: frozenset[str]
    thing_verbs: frozenset[str]
    framings: tuple[str, ...]
    scope: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Limit:
    """A threshold on a measurement: `Limit("temperature", ">=", 38.0)`."""

    concept: str
    compare: Literal["<", "<=", ">=", ">", "=="]
    value: float

    def met(self, value: float) -> bool:
        """Whether `value`, in the concept's unit, crosses the threshold."""
        match self.compare:
            case "<":
                return value < self.value
            case "<=":
                return value <= self.value
            case ">":
                return value > self.value
            case ">=":
                return value >= self.value
        return value == self.value


# One way to meet a term: concepts said in one sentence ("headache & sudden"), or a single concept.
Alternative = tuple[str, ...]
Term = tuple[Alternative, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """One sourced triage rule. It fires when every part of its condition is met; `unless` holds it back."""

    id: str
    level: Level
    emergency: bool
    all_of: tuple[Term, ...]
    any_of: Term
    count: int
    unless: Term
    limits: tuple[tuple[Limit, ...], ...]  # those of one measurement together: one value must meet them all
    why: str
    do: str
    ask: str | None
    kind: Literal["medical", "crisis", "poison"]
    source: Source
    fires: tuple[str, ...]
    near_misses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """A country's numbers; `emergency` is the ambulance."""

    code: str
    name: str
    emergency: str
    crisis: str | None
    crisis_name: str | None
    poison: str | None
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class LabTest:
    """A laboratory test: its names in plain lower case, the unit that rules use, factors from other units, and what values are plausible.

    `words`: its results are words (negative, trace, large), not numbers.
    """

    id: str
    name: str
    say: tuple[str, ...]
    unit: str
    convert: Mapping[str, float]
    plausible: tuple[float, float]
    words: bool
    source: Source


@dataclass(frozen=True, slots=True)
class ForeignLanguage:
    """How to tell a language that the rules do not read, and what to say in it."""

    code: str
    name: str
    notice: str
    script: str | None
    words: frozenset[str]


class _Loader(yaml.CSafeLoader):
    """Safe, and reads `no`, `on` and `off` as the words they are, not as booleans."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), list("tf"))


def _read(path: Path) -> Any:
    with path.open(encoding="utf-8") as file:
        return yaml.load(file, Loader=_Loader)  # noqa: S506 - built on the safe loader


def _source(item: Mapping[str, str]) -> Source:
    return Source(item["name"], item["url"])


@cache
def load_lexicon() -> Lexicon:
    """The lexicon. Raises ClinicalDataError where an id is used twice or a parent is unknown."""
    concepts: dict[str, Concept] = {}
    pairs: dict[tuple[str, str], str] = {}
    for path in sorted((CLINICAL / "lexicon").glob("*.yaml")):
        data = _read(path)
        for concept in _concepts(data):
            if concept.id in concepts:
                raise ClinicalDataError(f"{path.name}: concept {concept.id!r} is already defined")
            concepts[concept.id] = concept
        for name, item in data.get("concepts", {}).items():
            pairs.update({(site, feels): name for site in item.get("at", ()) for feels in item.get("feels", ())})
    frames: list[Frame] = []
    for path in sorted((CLINICAL / "frames").glob("*.yaml")):
        data = _read(path)
        for name, say in data.get("pieces", {}).items():
            if name in concepts:
                raise ClinicalDataError(f"{path.name}: {name!r} is already defined")
            words = tuple(word for item in say for word in _numbers(str(item)))
            concepts[name] = Concept(name, name.replace("_", " "), "PIECE", "piece", words)
        frames += [_frame(name, text) for name, texts in data.get("frames", {}).items() for text in texts]
    lexicon = Lexicon(concepts, pairs, tuple(frames))
    for concept in concepts.values():
        for parent in concept.parents:
            if not lexicon.exists(parent):
                raise ClinicalDataError(f"concept {concept.id!r}: unknown parent {parent!r}")
    for frame in frames:
        for name in (frame.concept, *(part for slot in frame.slots for part in slot)):
            if name not in concepts:
                raise ClinicalDataError(f"frame of {frame.concept!r}: unknown {name!r}")
    return lexicon


def _concepts(data: Mapping[str, Any]) -> Iterable[Concept]:
    for name, say in data.get("sites", {}).items():
        yield Concept(name, name.replace("_", " "), "BODY", "site", tuple(say))
    for name, say in data.get("sensations", {}).items():
        yield Concept(name, name.replace("_", " "), "SYMPTOM", "sensation", tuple(map(str, say)))
    for name, item in data.get("concepts", {}).items():
        yield Concept(
            name,
            item.get("name", name.replace("_", " ")),
            item.get("label", data.get("label", "SYMPTOM")),
            "concept",
            _phrases(item),
            tuple(item.get("is", ())),
        )


def _phrases(item: Mapping[str, Any]) -> tuple[str, ...]:
    """What is listed under `say`, and each phrase that `products` puts together: a word of the first list, one of the second."""
    made = (" ".join(words) for lists in item.get("products", ()) for words in product(*lists))
    return (*map(str, item.get("say", ())), *made)


def _numbers(text: str) -> Iterable[str]:
    """ "38.0..41.9" stands for each number between, in steps of its last digit."""
    lowest, dots, highest = text.partition("..")
    if not dots:
        return (text,)
    places = len(lowest.partition(".")[2])
    return (
        f"{n / 10**places:.{places}f}"
        for n in range(round(float(lowest) * 10**places), round(float(highest) * 10**places) + 1)
    )


def _frame(concept: str, text: str) -> Frame:
    """ "face | mouth + slid" in any order, "hit > head" in this order."""
    if "+" in text and ">" in text:
        raise ClinicalDataError(f"frame of {concept!r}: {text!r}: either + or >")
    slots = tuple(tuple(name.strip() for name in slot.split("|")) for slot in re.split(r"[+>]", text))
    if len(slots) < 2:
        raise ClinicalDataError(f"frame of {concept!r}: {text!r}: two slots or more")
    return Frame(concept, slots, ">" in text)


@cache
def load_context() -> ContextData:
    """The words that carry context."""
    data = _read(CLINICAL / "context.yaml")
    return ContextData(
        rules=tuple(
            ContextRule(
                r["category"],
                r["direction"],
                (
                    *map(str, r.get("say", ())),
                    *(say for c in r.get("concepts", ()) for say in load_lexicon().concepts[c].say),
                ),
                frozenset(r["labels"]) if "labels" in r else None,
                frozenset(r["not_labels"]) if "not_labels" in r else None,
            )
            for r in data["rules"]
        ),
        fillers=frozenset(data["fillers"]),
        soft_fillers=frozenset(data["soft_fillers"]),
        distinct=frozenset(data["distinct"]),
        aliases={str(k): str(v) for k, v in data["aliases"].items()},
        list_words=frozenset(data["list_words"]),
        list_openers=frozenset(data["list_openers"]),
        runs_on=frozenset(data["runs_on"]),
        light=frozenset(data["light"]),
        question_openers=frozenset(data["question_openers"]),
        sure_question_openers=frozenset(data["sure_question_openers"]),
        writer=frozenset(data["writer"]),
        just_now=frozenset(data["just_now"]),
        after_number=dict(data["after_number"]),
        people=frozenset(data["people"]),
        people_in_general=frozenset(data["people_in_general"]),
        animals=frozenset(data["animals"]),
        pronouns=frozenset(data["pronouns"]),
        with_animals=frozenset(data["with_animals"]),
        lasting_conditions=frozenset(data["lasting_conditions"]),
        animal_acts=frozenset(data["animal_acts"]),
        things=frozenset(data["things"]),
        thing_verbs=frozenset(data["thing_verbs"]),
        framings=_phrases(data["framings"]),
        scope={name: frozenset(map(str, words)) for name, words in data["scope"].items()},
    )


@cache
def load_rules() -> tuple[Rule, ...]:
    """All triage rules, the most urgent first. Raises ClinicalDataError for a rule that names an unknown concept or is incomplete."""
    rules: dict[str, Rule] = {}
    for path in sorted((CLINICAL / "rules").glob("*.yaml")):
        for item in _read(path):
            try:
                rule = _rule(item)
            except (KeyError, ValueError, TypeError) as error:
                raise ClinicalDataError(f"{path.name}: rule {item.get('id')!r}: {error!r}") from error
            if rule.id in rules:
                raise ClinicalDataError(f"{path.name}: rule {rule.id!r} is already defined")
            rules[rule.id] = rule
    return tuple(sorted(rules.values(), key=lambda r: (-LEVELS.index(r.level), not r.emergency)))


def _rule(item: Mapping[str, Any]) -> Rule:
    unknown = item.keys() - {
        "id",
        "level",
        "emergency",
        "all",
        "any",
        "count",
        "unless",
        "limits",
        "why",
        "do",
        "ask",
        "kind",
        "source",
        "fires",
        "near_misses",
    }
    if unknown:
        raise ValueError(f"unknown keys {sorted(unknown)}")
    if item["level"] not in LEVELS:
        raise ValueError(f"level {item['level']!r}")
    return Rule(
        id=item["id"],
        level=item["level"],
        emergency=item.get("emergency", False),
        all_of=tuple(_term([text]) for text in item.get("all", ())),
        any_of=_term(item.get("any", ())),
        count=item.get("count", 1),
        unless=_term(item.get("unless", ())),
        limits=_limits(item.get("limits", ())),
        why=item["why"],
        do=item["do"],
        ask=item.get("ask"),
        kind=item.get("kind", "medical"),
        source=_source(item["source"]),
        fires=tuple(item["fires"]),
        near_misses=tuple(item.get("near_misses", ())),
    )


def _term(texts: Iterable[str]) -> Term:
    lexicon = load_lexicon()
    term = tuple(tuple(c.strip() for c in alternative.split("&")) for text in texts for alternative in text.split("|"))
    for concept in (c for alternative in term for c in alternative):
        if concept not in _measured() | RESULT_FLAGS and not lexicon.exists(concept):
            raise ValueError(f"unknown concept {concept!r}")
    return term


@cache
def _measured() -> frozenset[str]:
    """Everything that has a number: measurements and laboratory tests."""
    return MEASURED | {test.id for test in load_lab_tests()}


def _limits(texts: Iterable[str]) -> tuple[tuple[Limit, ...], ...]:
    limits = sorted(map(_limit, texts), key=lambda limit: limit.concept)
    return tuple(tuple(of_one) for _, of_one in groupby(limits, key=lambda limit: limit.concept))


def _limit(text: str) -> Limit:
    concept, compare, value = text.split()
    if concept not in _measured():
        raise ValueError(f"limit {text!r}: nothing measures {concept!r}")
    if compare not in ("<", "<=", ">", ">=", "=="):
        raise ValueError(f"limit {text!r}: unknown comparison")
    return Limit(concept, compare, float(value))  # type: ignore[arg-type]  # narrowed by the line above, which mypy does not follow


@cache
def load_places() -> Mapping[str, Place]:
    """Numbers by ISO country code."""
    return {
        code: Place(
            code,
            item["name"],
            str(item["emergency"]),
            str(item["crisis"]) if "crisis" in item else None,
            item.get("crisis_name"),
            str(item["poison"]) if "poison" in item else None,
            tuple(_source(s) for s in item["sources"]),
        )
        for code, item in _read(CLINICAL / "places.yaml").items()
    }


@cache
def load_lab_tests() -> tuple[LabTest, ...]:
    """Laboratory tests."""
    return tuple(_lab_test(name, item) for name, item in _read(CLINICAL / "results.yaml").items())


def _lab_test(name: str, item: Mapping[str, Any]) -> LabTest:
    lowest, highest = item.get("plausible", (0, 0))
    return LabTest(
        name,
        item["name"],
        tuple(map(str, item["say"])),
        item.get("unit", ""),
        {unit: float(factor) for unit, factor in item.get("convert", {}).items()},
        (float(lowest), float(highest)),
        item.get("words", False),
        _source(item["source"]),
    )


@cache
def load_languages() -> tuple[ForeignLanguage, ...]:
    """Languages other than English that can be told apart, each with its notice."""
    return tuple(
        ForeignLanguage(code, item["name"], item["notice"], item.get("script"), frozenset(item.get("words", ())))
        for code, item in _read(CLINICAL / "languages.yaml").items()
    )

"""Words -> parts of the lexicon: tokens, spelling, phrases with filler words stepped over, and body part + sensation put together."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from importlib.util import find_spec
from itertools import pairwise, product
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import Stemmer
from spacy.matcher import PhraseMatcher
from spacy.tokens import Doc
from spacy.vocab import Vocab
from symspellpy import SymSpell, Verbosity

from clinical_data import Concept, ContextData, Frame, Lexicon
from plain_text import PlainText, plain

# Scripts without spaces between words, each of whose characters is a token: Thai, Chinese, Japanese, and Korean as plain() leaves it.
_UNSPACED = r"\u0e00-\u0e7f\u1100-\u11ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_TOKEN = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])[^\W\d_])+(?:'[^\W\d_]+)*|\d+(?:[.,/]\d+)*|\n|[^\w\s']|_")
_PAST_YEAR = "#year"  # how context.yaml names a year before this one
_REACH = 7  # content words between a body part and what it feels
_FRAME_REACH = 5  # content words between two pieces of a frame
_CLAUSE_ENDS = frozenset({"but", ";", "although", "however", "except"})
_NEGATIONS = frozenset(
    {"not", "no", "dont", "doesnt", "didnt", "isnt", "arent", "wasnt", "werent", "never", "aint", "non"}
)
_BY_PLACE = frozenset(
    {"in", "of", "on", "at", "around", "across", "behind", "under", "inside", "down", "below", "to", "along", "near"}
)


class Token(NamedTuple):
    """A word as the rules read it, and where it stands in the plain text."""

    norm: str
    start: int
    end: int


class Part(NamedTuple):
    """A concept found at tokens `start` to `end` (end excluded). `denied`: "my chest doesn't hurt" says the pain is absent.

    `pieces`: where the words of what was put together stand; the gap between them says nothing of it.
    """

    start: int
    end: int
    concept: Concept
    denied: bool = False
    pieces: tuple[tuple[int, int], ...] = ()

    def holds(self, start: int, end: int) -> bool:
        """Whether the words from `start` to `end` are its own."""
        return any(a <= start and end <= b for a, b in self.pieces or ((self.start, self.end),))


class _Depth(Enum):
    """How many words the lexicon steps over."""

    AS_WRITTEN = 0
    CONTENT = 1
    CORE = 2


class PhraseFinder:
    """Finds the lexicon's concepts in a sentence. Built once a process."""

    def __init__(
        self, lexicon: Lexicon, context: ContextData, vocab: Vocab, terms: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self._lexicon, self._context, self._vocab = lexicon, context, vocab
        self._stemmer = Stemmer.Stemmer("english")
        self._skipped = {
            _Depth.AS_WRITTEN: frozenset[str](),
            _Depth.CONTENT: context.fillers,
            _Depth.CORE: context.fillers | context.soft_fillers,
        }
        # The same phrases are looked for among all words, among those left without fillers, and without soft fillers too.
        self._matchers = {depth: PhraseMatcher(vocab, attr="ORTH") for depth in _Depth}
        self._concepts_of: dict[str, list[Concept]] = {}
        self._frames: dict[str, list[Frame]] = defaultdict(list)  # by what may fill the first slot
        for frame in lexicon.frames:
            for name in frame.slots[0]:
                self._frames[name].append(frame)
        words: Counter[str] = Counter()  # and in how many phrases
        for concept in lexicon.concepts.values():
            for phrase in concept.say:
                norms = [t.norm for t in self._split(plain(phrase))]
                words.update(norm for norm in norms if norm.isalpha())
                self._add(concept, norms)
                joined = "".join(norms)
                if len(norms) == 2 and self.stem(joined) not in _english_words():
                    self._add(concept, [joined])  # "chestpain": a lost space is a common slip
        words.update(word for rule in context.rules for say in rule.say for word in say.split())
        self._spelling = _Spelling(words, self._skipped[_Depth.CORE], self.stem)
        self._topic_matcher = PhraseMatcher(vocab, attr="ORTH")
        for name, title in terms.items():
            # Spelt as a message would be: titles neither add targets of spelling nor shield a word from it.
            stems = [self.stem(self._spelling.corrected(t.norm)) for t in self._split(plain(name))]
            topic = Concept(f"topic:{title}"[:80], title, "TOPIC", "concept")
            self._register(self._topic_matcher, f"topic {' '.join(stems)}", stems, topic)

    def tokens(self, source: PlainText) -> list[Token]:
        """The words of a text, misspellings of our own words corrected; offsets into the plain text."""
        return [t._replace(norm=self._spelling.corrected(t.norm)) for t in self._split(source)]

    def stem(self, word: str) -> str:
        """The stem of a word, or the word itself where stemming would make it one with another."""
        return word if word in self._context.distinct else str(self._stemmer.stemWord(word))

    def parts(self, sentence: Sequence[Token]) -> list[Part]:
        """Lexicon hits, none inside a longer one, with body parts and sensations put together, and what frames make; in order."""
        hits = {hit for depth in _Depth for hit in self._hits(sentence, self._matchers[depth], self._skipped[depth])}
        asides = [hit for hit in hits if hit.concept.label == "ASIDE"]
        hits = {
            hit for hit in hits if hit in asides or not any(a.start < hit.end and hit.start < a.end for a in asides)
        }
        framed = self._framed(sentence, hits)
        chosen: list[tuple[Part, set[int]]] = []
        for hit in sorted(
            (h for h in hits if h.concept.kind != "piece"), key=lambda p: (p.start - p.end, p.start, p.concept.id)
        ):
            spanned = range(hit.start, hit.end)
            words = {i for i in spanned if sentence[i].norm not in self._context.fillers} or set(spanned)
            # Inside a longer one, "killing me" in "homework is killing me" says nothing of its own.
            if all(words == others for _, others in chosen if words <= others):
                chosen.append((hit, words))
        composed = self._composed(sentence, sorted((part for part, _ in chosen), key=lambda p: (p.start, p.end)))
        return sorted({*composed, *framed}, key=lambda p: (p.start, p.end, p.concept.id))

    def topics(self, sentence: Sequence[Token], parts: Sequence[Part]) -> list[Part]:
        """Titles of indexed documents, where nothing else was read: they swallow nothing and stand in nothing's way."""
        hits = self._hits(sentence, self._topic_matcher, frozenset())
        return [t for t in hits if not any(p.start < t.end and t.start < p.end for p in parts)]

    # --- phrases ---

    def _split(self, source: PlainText) -> list[Token]:
        tokens: list[Token] = []
        for match in _TOKEN.finditer(source.text):
            word = match.group().replace("'", "")
            norm = _PAST_YEAR if _is_past_year(word) else self._context.aliases.get(word, word)
            if tokens and tokens[-1].norm[0].isdigit():
                norm = self._context.after_number.get(norm, norm)
            if norm == "not" and tokens and tokens[-1].norm in ("can", "could"):
                tokens[-1] = Token("cant", tokens[-1].start, match.end())
            else:
                tokens.append(Token(norm, match.start(), match.end()))
        return tokens

    def _add(self, concept: Concept, norms: Sequence[str]) -> None:
        content = [norm for norm in norms if norm not in self._skipped[_Depth.CONTENT]]
        if not content or (len(content) < 2 <= len(norms)) or not set(content) - self._context.light:
            depth, words = _Depth.AS_WRITTEN, list(norms)
        else:
            # What holds no soft filler is found wherever they are stepped over.
            depth, words = (_Depth.CONTENT if self._context.soft_fillers & set(content) else _Depth.CORE), content
        stems = [self.stem(word) for word in words]
        self._register(self._matchers[depth], f"{depth.value} {' '.join(stems)}", stems, concept)

    def _register(self, matcher: PhraseMatcher, name: str, stems: list[str], concept: Concept) -> None:
        if name not in self._concepts_of:
            matcher.add(name, [Doc(self._vocab, words=stems)])
        concepts = self._concepts_of.setdefault(name, [])
        if concept not in concepts:
            concepts.append(concept)

    def _hits(self, sentence: Sequence[Token], matcher: PhraseMatcher, skipped: frozenset[str]) -> Iterator[Part]:
        positions = [i for i, token in enumerate(sentence) if token.norm not in skipped]
        if not positions:
            return
        doc = Doc(self._vocab, words=[self.stem(sentence[i].norm) for i in positions])
        for key, start, end in matcher(doc):
            for concept in self._concepts_of[self._vocab.strings[key]]:
                yield Part(positions[start], positions[end - 1] + 1, concept)

    # --- what is said in pieces ---

    def _framed(self, sentence: Sequence[Token], hits: set[Part]) -> list[Part]:
        """Concepts whose pieces stand close together in one clause: "the side of her mouth has slid"."""
        filling: dict[str, list[Part]] = defaultdict(list)
        for hit in sorted(hits, key=lambda p: (p.start, p.end, p.concept.id)):
            for name in self._lexicon.lineage(hit.concept.id):
                filling[name].append(hit)
        made: dict[tuple[str, int, int], Part] = {}
        for frame in dict.fromkeys(frame for name in filling for frame in self._frames.get(name, ())):
            for part in self._filled(sentence, frame, filling):
                key = (frame.concept, part.start, part.end)
                if key not in made or made[key].denied:  # in doubt it is there
                    made[key] = part
        return list(made.values())

    def _filled(self, sentence: Sequence[Token], frame: Frame, filling: Mapping[str, list[Part]]) -> Iterator[Part]:
        """Every way in which a frame's slots are filled, but none that spans a closer one."""
        slots = [[hit for name in slot for hit in filling.get(name, ())] for slot in frame.slots]
        concept = self._lexicon.concepts[frame.concept]
        found: list[Part] = []
        for pieces in product(*slots):
            row = list(pieces) if frame.ordered else sorted(pieces, key=lambda p: p.start)
            gaps = [[t.norm for t in sentence[a.end : b.start]] for a, b in pairwise(row)]
            if all(a.end <= b.start for a, b in pairwise(row)) and all(map(self._is_near, gaps)):
                denied = any(_denies(gap) for gap in gaps)
                found.append(Part(row[0].start, row[-1].end, concept, denied, tuple((p.start, p.end) for p in row)))
        for part in found:
            if not any(
                part.start <= o.start and o.end <= part.end and o.end - o.start < part.end - part.start for o in found
            ):
                yield part

    def _is_near(self, gap: Sequence[str]) -> bool:
        skipped = self._skipped[_Depth.CORE]
        return not _CLAUSE_ENDS & set(gap) and sum(n.isalnum() and n not in skipped for n in gap) <= _FRAME_REACH

    # --- a body part and what it feels ---

    def _composed(self, sentence: Sequence[Token], parts: list[Part]) -> list[Part]:
        sites = [p for p in parts if p.concept.kind == "site"]
        feelings = [p for p in parts if p.concept.kind == "sensation"]
        used: set[Part] = set()
        made: list[Part] = []
        for feeling in feelings:
            made.extend(self._renamed(sentence, feeling, parts))
            for site in self._sites_of(sentence, feeling, sites, feelings, used):
                # A body part that is already taken lends its name, not its words.
                first, last = (feeling, feeling) if site in used else sorted((feeling, site), key=lambda p: p.start)
                finding = self._lexicon.finding(site.concept, feeling.concept)
                own = tuple(dict.fromkeys([(first.start, first.end), (last.start, last.end)]))
                made.append(Part(first.start, last.end, finding, _denied(sentence, site, feeling), own))
                used |= {feeling, site}
        return sorted([p for p in parts if p not in used] + made, key=lambda p: (p.start, p.end))

    def _renamed(self, sentence: Sequence[Token], feeling: Part, parts: list[Part]) -> Iterator[Part]:
        """ "I don't have chest pain, it's pressure": the same place under another name."""
        earlier = [(p, s) for p in parts if p.end <= feeling.start and (s := self._lexicon.site_of(p.concept.id))]
        if earlier and {"it", "its"} & {t.norm for t in sentence[earlier[-1][0].end : feeling.start]}:
            site = self._lexicon.concepts[earlier[-1][1]]
            yield Part(feeling.start, feeling.end, self._lexicon.finding(site, feeling.concept))

    def _sites_of(
        self, sentence: Sequence[Token], feeling: Part, sites: list[Part], feelings: list[Part], used: set[Part]
    ) -> list[Part]:
        """The body parts that a sensation belongs to: those after "pain in ...", else the ones just before, else the next."""
        fillers = self._context.fillers

        def near(a: Part, b: Part) -> bool:
            gap = [t.norm for t in sentence[a.end : b.start]]
            return not _CLAUSE_ENDS & set(gap) and sum(n not in fillers for n in gap) <= _REACH

        def free_between(a: Part, b: Part) -> bool:
            return not any(a.end <= f.start < b.start for f in feelings if f is not feeling)

        after = [s for s in sites if s.start >= feeling.end and near(feeling, s) and free_between(feeling, s)]
        before = [s for s in sites if s.end <= feeling.start and near(s, feeling)]
        if feeling.concept.id == "radiation":
            return after
        if after and feeling.end < len(sentence) and sentence[feeling.end].norm in _BY_PLACE:
            return after
        unclaimed = [s for s in before if s not in used]
        if unclaimed and free_between(unclaimed[-1], feeling):
            joined = [unclaimed[-1]]  # "my chest and arm hurt"
            for left, right in reversed(list(pairwise(unclaimed))):
                between = {t.norm for t in sentence[left.end : right.start]} - fillers
                if right is joined[0] and between <= {"and", "or", ",", "/"}:
                    joined.insert(0, left)
            return joined
        if after and after[0].start - feeling.end <= 3:
            return after[:1]
        return before[-1:]


def _denied(sentence: Sequence[Token], site: Part, feeling: Part) -> bool:
    """Whether a negation stands right before the sensation: "her lips are not blue", but not "my chest is not just tight"."""
    return _denies([t.norm for t in sentence[site.end : feeling.start]])


def _denies(gap: Sequence[str]) -> bool:
    between = gap[-2:]
    return bool(_NEGATIONS & set(between)) and not {"just", "only", "sure", "better"} & set(between)


def _is_past_year(word: str) -> bool:
    return len(word) == 4 and word.isdigit() and 1920 <= int(word) < datetime.now(UTC).year


class _Spelling:
    """Corrects a misspelling, only towards our own words, and never away from an English word."""

    def __init__(self, words: Mapping[str, int], known: frozenset[str], stem: Callable[[str], str]) -> None:
        self._known = words.keys() | known
        self._stem = stem
        self._stems = frozenset(map(stem, self._known))
        self._index = SymSpell(max_dictionary_edit_distance=2, prefix_length=7)
        for word, count in words.items():
            if len(word) >= 4:
                self._index.create_dictionary_entry(word, count)
        self._memory: dict[str, str] = {}
        _english_words()  # read now, not with the first misspelling

    def corrected(self, word: str) -> str:
        if word not in self._memory:
            if len(self._memory) > 50_000:  # what people type must not fill the memory
                self._memory.clear()
            self._memory[word] = self._correct(word)
        return self._memory[word]

    def _correct(self, word: str) -> str:
        if len(word) < 4 or not word.isalpha() or word in self._known or self._is_english(word):
            return word
        near = self._index.lookup(word, Verbosity.CLOSEST, max_edit_distance=1 if len(word) < 8 else 2)
        # The word that our phrases hold most often; one and the same in every process.
        likely = [s for s in near if s.term[0] == word[0]]
        if likely:
            return str(min(likely, key=lambda s: (s.distance, -s.count, s.term)).term)
        return word

    def _is_english(self, word: str) -> bool:
        """An English word, or a form of one or of a word of ours."""
        forms = {word, *(word.removesuffix(ending) for ending in ("s", "es", "ed", "ing", "d"))}
        return bool(forms & _english_words()) or self._stem(word) in self._stems


@cache
def _english_words() -> frozenset[str]:
    """An English word list (symspellpy's), used only to veto: a real word is never "corrected"."""
    package = find_spec("symspellpy")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("symspellpy is missing: run make setup")
    path = Path(package.submodule_search_locations[0]) / "frequency_dictionary_en_82_765.txt"
    return frozenset(line.split(" ", 1)[0] for line in path.read_text("utf-8-sig").splitlines())

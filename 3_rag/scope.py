"""How far a negation, a past, a doubt or an ending reaches: the second half of what medspaCy's ConText begins.

ConText says which modifier has a finding in its scope; these rules of clause and verb say whether it is about that finding. A denied verb
("doesnt have", "isnt") reaches a finding through words of having and being alone, so that "didnt think chest pain mattered" denies
nothing; a denied noun ("no", "without", "denies") through a noun phrase alone. The classes of words are data (`clinical/context.yaml`).
When in doubt a finding stays present.
"""

from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from clinical_data import ContextData
from phrases import Part

if TYPE_CHECKING:
    from medspacy.context import ConTextModifier

# "Severe", "worse", "baby" say how a finding is, or whose; they are not themselves absent or past.
QUALITIES = frozenset({"SEVERITY", "ONSET", "COURSE", "AGE", "SEX"})
_COMMAS = frozenset({",", "#comma"})
_DENIED_OR_OVER = ("NEGATED_EXISTENCE", "HISTORICAL", "ENDED")


class Scope:
    """Decides whether a modifier in whose scope a finding stands is about it. Holds no text."""

    def __init__(self, context: ContextData) -> None:
        self._context = context
        self._words = context.scope
        self._light = context.fillers | context.soft_fillers | self._words["light_words"] | self._words["having"]

    def with_stops(self, norms: list[str]) -> list[str]:
        """The words of a sentence, with `#comma` for each comma that ends a negation.

        A comma goes on with a denied list ("no fever, rash, cough") unless what follows it speaks for itself ("no fever, my chest hurts").
        """
        marked = list(norms)
        opened = norms[0] in self._context.list_openers
        denies = [i for i, norm in enumerate(norms) if norm in self._words["list_denials"]]
        until = len(norms)
        for i in reversed([i for i, norm in enumerate(norms) if norm == ","]):
            item = norms[i + 1 : until]
            item = item[: next((k for k, word in enumerate(item) if word in (";", ":", "#line", "but")), None)]
            speaks = bool(self._words["own_clause"] & set(item) or self._words["own_things"] & set(item[:2]))
            # The last item of a list follows "or"; those before it go on with it.
            listed = bool(self._context.list_words & set(item)) or (until < len(norms) and marked[until] == ",")
            if speaks or not (listed or opened or (denies and denies[0] < i)):
                marked[i] = "#comma"
            until = i
        return marked

    def acts(self, modifier: "ConTextModifier", tokens: Sequence[str], part: Part, parts: Sequence[Part]) -> bool:
        """Whether a modifier is about the finding `part`, and not about another word between them or part of a finding itself."""
        start, end = modifier.modifier_span
        category = modifier.category
        if _is_part_of_a_finding(start, end, part, parts):
            return False
        if category in _DENIED_OR_OVER and self._is_taken_back(tokens, start):
            return False
        if category == "RECENT_PAST":
            clause = self._clause(tokens, part.start, part.end)
            return bool(self._words["simple_past"] & set(clause)) and not self._words["going_on"] & set(clause)
        if category == "WHEN_YOUNG":
            return end < len(tokens) and (tokens[end][0].isdigit() or tokens[end] in self._words["youth"])
        if end <= part.start:
            return self._acts_forward(modifier, tokens, part, _gap(tokens, parts, end, part.start))
        return self._acts_backward(modifier, tokens, part, _gap(tokens, parts, part.end, start))

    def _acts_forward(self, modifier: "ConTextModifier", tokens: Sequence[str], part: Part, gap: Sequence[str]) -> bool:
        start, end = modifier.modifier_span
        if modifier.direction == "BIDIRECTIONAL" and start > 1 and _COMMAS & set(gap):
            return False  # "a transplant two years ago, temp 38.6"
        match modifier.category:
            case "NEGATED_EXISTENCE":
                light = self._light | (self._words["meaning"] if part.concept.label == "CRISIS" else frozenset())
                return self._reaches(tokens[start:end], gap, light)
            case "ENDED":
                denied = self._words["denials"] & set(tokens[max(0, start - 3) : start])
                return not denied and set(gap) <= self._words["being"]
            case "FAMILY":
                return True
            case "HYPOTHETICAL" if {"this", "these"} & set(tokens[max(0, part.start - 2) : part.start + 1]):
                return False  # "what is this rash"
        # "might be gout, the pain is bad"
        return not any(
            a in _COMMAS and b in self._words["new_subject"] for a, b in pairwise([*gap, tokens[part.start]])
        )

    def _acts_backward(
        self, modifier: "ConTextModifier", tokens: Sequence[str], part: Part, gap: Sequence[str]
    ) -> bool:
        start, end = modifier.modifier_span
        if modifier.category == "ENDED" and not self._is_over(tokens, start, end):
            return False
        if modifier.direction == "BIDIRECTIONAL":
            return not _COMMAS & set(gap)
        if modifier.category in _DENIED_OR_OVER:
            passed = self._light | self._words["joins"] | self._words["lasting"]
            return all(w in passed or w.endswith("ly") or w[0].isdigit() or w in ":?=" for w in gap)
        return True

    def is_family_history(self, tokens: Sequence[str], part: Part) -> bool:
        """ "My mother had asthma", "dad died of a heart attack"; a mishap only where it has an age: "dad had a heart attack at 50"."""
        relative = max((i for i in range(part.start) if tokens[i] in self._words["relatives"]), default=None)
        if relative is None or self._words["new_subject"] & set(tokens[relative + 1 : part.start]):
            return False
        between = tokens[relative + 1 : part.start][:7]
        if {"died", "lost"} & set(between):
            return True
        past = "had" in between or between[:3] == ["used", "to", "have"]
        return past and (part.concept.label == "CONDITION" or _at_an_age(tokens[part.end : part.end + 6]))

    def clause_until(self, tokens: Sequence[str], start: int) -> Sequence[str]:
        """The sentence from its beginning to the end of the clause that holds token `start`."""
        return tokens[: next((i for i in range(start, len(tokens)) if self._is_border(tokens[i])), None)]

    def _clause(self, tokens: Sequence[str], start: int, end: int) -> Sequence[str]:
        first = max((i + 1 for i in range(start) if self._is_border(tokens[i])), default=0)
        return self.clause_until(tokens, end)[first:]

    def _is_border(self, word: str) -> bool:
        return word in self._words["clause_borders"]

    def _is_taken_back(self, tokens: Sequence[str], start: int) -> bool:
        """Whether an earlier word in its clause takes a negation back: "not a day without", "cant say theres no", "never not"."""
        before = tokens[max((i + 1 for i in range(start) if self._is_border(tokens[i])), default=0) : start]
        denials = self._words["denials"]
        if not denials & set(before):
            return False
        return (
            tokens[start] in self._words["double"]
            or before[-1] == "never"
            or bool(self._words["times"] & set(before))
            or any(a in denials and b in self._words["saying"] for a, b in pairwise(before))
        )

    def _is_over(self, tokens: Sequence[str], start: int, end: int) -> bool:
        """Whether "stopped" says that the finding before it stopped for good: not "stopped me", "never stopped", "stopped but came back"."""
        rest = tokens[end:]
        if tokens[end - 1] in ("went", "gone") and {"on", "in", "a", "as", "straight"} & set(rest[:1]):
            return False  # "this cold has gone on for weeks", "the glass went in"
        back = self._words["again"] & set(rest) or any(
            a in ("came", "comes", "come", "is", "its", "are", "now") and b == "back" for a, b in pairwise(rest)
        )
        denials = self._words["denials"]
        return (
            not (denials | self._words["wishing"]) & set(tokens[max(0, start - 3) : start])
            and (not rest or rest[0] in self._words["after_the_end"])
            and (not back or bool(denials & set(rest)))
        )

    def _reaches(self, denial: Sequence[str], gap: Sequence[str], light: Collection[str]) -> bool:
        """Whether a negation reaches the finding at the end of `gap`: what stands before the first item of a list decides."""
        having = self._words["having"]
        first = next((i for i, word in enumerate(gap) if word in self._words["joins"]), len(gap))
        words = gap[:first]
        if not (self._words["noun_denials"] | {"nobody"}) & set(denial):
            until = next((i + 1 for i, word in enumerate(words) if word in having), 0)
            verb = words if not until and not having & set(denial) else words[:until]
            if self._words["degrees"] & set(words) or not all(w in light or w.endswith("ly") for w in verb):
                return False
        if denial[0] == "nobody" or tuple(denial[:2]) == ("no", "one"):
            # "nobody here has a fever", not "nobody believes me"
            return any(word in ("has", "have", "had") for word in words[-2:])
        before_the = having | {"of", "in", "on", "with", "from", "to", "around", "at"}
        if any(
            b == "the" and a not in before_the for a, b in pairwise(words)
        ):  # "without tablets the headache is awful"
            return False
        if "for" in words and self._words["spans"] & set(words):  # "no poo for six days on codeine"
            return False
        return not self._words["not_the_finding"] & set(words[words[:1] == ["have"] :])


def _is_part_of_a_finding(start: int, end: int, part: Part, parts: Sequence[Part]) -> bool:
    """Whether a modifier's words are themselves part of a finding: the "no" of "no energy" denies nothing after it.

    Where another finding shares words with this one, as "want to hurt myself" does with "dont want to hurt", its words still act on this.
    """
    return part.holds(start, end) or any(
        p.holds(start, end) and not (p.start < part.end and part.start < p.end)
        for p in parts
        if p.concept.label not in QUALITIES
    )


def _at_an_age(words: Sequence[str]) -> bool:
    return any(a in ("at", "aged", "age", "when", "his", "her", "their") and b[0].isdigit() for a, b in pairwise(words))


def _gap(tokens: Sequence[str], parts: Sequence[Part], start: int, end: int) -> list[str]:
    """The words between, with a comma for each word of another finding."""
    taken = {
        i for p in parts if p.concept.kind != "site" and p.concept.label not in QUALITIES for i in range(p.start, p.end)
    }
    return [tokens[i] if i not in taken else "," for i in range(start, end)]

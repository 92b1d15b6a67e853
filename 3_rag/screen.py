"""What may not be said: doses, definite diagnoses, false reassurance.

One set of patterns for training data (a row that breaks them is dropped) and for answers (a sentence that breaks them is not shown).
"""

import re
from dataclasses import dataclass
from typing import Literal

Request = Literal["lethal", "dose"]
Fault = Literal["dose", "diagnosis", "reassurance"]

_NUMBER = r"(?:\d+(?:[.,/]\d+)?|one|two|three|four|half)"
_FAULTS: tuple[tuple[Fault, re.Pattern[str]], ...] = (
    # An amount of a medicine. Laboratory values ("120 mg/dL", "5 mmol/l") are amounts in a volume of blood, not doses.
    (
        "dose",
        re.compile(
            r"\b\d[\d.,]*\s?(?:-|to)?\s?\d*\s?(?:mg|mcg|µg|micrograms?|milligrams?|grams?|ml|millilit(?:er|re)s?|iu)\b(?!\s?/\s?d?l)",
            re.I,
        ),
    ),
    (
        "dose",
        re.compile(
            rf"\b{_NUMBER}\s(?:\w+\s)?(?:tablets?|pills?|capsules?|caplets?|puffs?|drops?|teaspoons?|tablespoons?)\b",
            re.I,
        ),
    ),
    (
        "dose",
        re.compile(
            rf"\b(?:take|give|use|apply|inject)\b[^.]{{0,60}}\b(?:{_NUMBER}|twice|once)\s?(?:times?|x)?\s(?:a|per|every|each)\s(?:day|hour|night)",
            re.I,
        ),
    ),
    (
        "diagnosis",
        re.compile(
            r"\b(?:you(?:'re| are)? (?:definitely |certainly |clearly |probably )?(?:have|suffering from|suffer from|having)|this is (?:definitely|certainly|clearly)|"
            r"your diagnosis is|i(?:'m| am) (?:sure|certain) (?:that )?(?:you|this|it))\b(?! to\b| any\b| been\b| had\b| a (?:question|concern|look)\b| questions?\b| concerns?\b)",
            re.I,
        ),
    ),
    (
        "reassurance",
        re.compile(
            r"\b(?:no need to (?:see|call|visit|go|worry)|nothing (?:to worry about|serious)|(?:don'?t|do not) (?:need to )?(?:worry|panic|see a doctor|call an ambulance|go to)|"
            r"not (?:an emergency|dangerous|serious)|perfectly (?:normal|safe|fine)|(?:it|this) will (?:go away|pass|be fine)|wait and see|you(?:'ll| will) be fine)\b",
            re.I,
        ),
    ),
)
# "If you have ...", "whether you have ..." describe a condition; they do not diagnose one.
_CONDITIONAL = re.compile(
    r"\b(?:if|when|whether|unless|in case|may|might|could|people who|anyone who|do|does|did|until|because|while|once|after|before|since|recommend|suggest|advise|should|time)\b",
    re.I,
)


@dataclass(frozen=True)
class Violation:
    """One thing in a sentence that may not be said: which fault, and the words."""

    fault: Fault
    text: str


def violations(sentence: str) -> list[Violation]:
    """What in this sentence may not be said to a patient; empty if nothing."""
    found = []
    for fault, pattern in _FAULTS:
        for match in pattern.finditer(sentence):
            if fault == "diagnosis" and _CONDITIONAL.search(sentence, 0, match.start()):
                continue
            found.append(Violation(fault, match.group()))
    return found


_LETHAL = re.compile(
    r"\b(?:lethal|fatal|deadly) (?:dose|amount|level)|\b(?:how (?:many|much)|what (?:dose|amount))\b[^.?]{0,60}\b(?:kill|die|death|end (?:my|it)|overdose|od)\b|"
    r"\b(?:how (?:do|can|to|would|could))\b[^.?]{0,30}\b(?:kill|poison|drug) (?:myself|himself|herself|someone|him|her|my|a person|people)|"
    r"\b(?:fake|forge|forged?) (?:a )?(?:prescription|sick note)|\bwithout (?:a )?prescription\b",
    re.I,
)
_DOSE = re.compile(
    r"\b(?:what(?:'s| is)?|how (?:much|many)|which|right|correct|safe|give|calculate|max(?:imum)?)\b[^.?!]{0,50}\b(?:dose|dosage|dosing|mg|ml|milligrams?|tablets?|pills?)\b|\bdos(?:e|age|ing) (?:of|for)\b|"
    r"\bhow (?:much|many)\b[^.?!]{0,30}\b(?:ibuprofen|paracetamol|acetaminophen|tylenol|calpol|nurofen|advil|aspirin|medicine|insulin)\b",
    re.I,
)


def request(text: str) -> Request | None:
    """What a person asks for that is never given: a way to do harm, or the dose of a medicine."""
    if _LETHAL.search(text):
        return "lethal"
    return "dose" if _DOSE.search(text) else None

"""Laboratory results that a message quotes -> the value in one unit, and whether it lies outside the range quoted beside it.

Tests, their names, units and factors are data (`clinical/results.yaml`).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from clinical_data import LabTest, load_lab_tests

# What may stand between a test's name and its value: "my hemoglobin level came back at 7.2".
_LINK = r"(?:\s|[:=,>(*|-]|\b(?:is|was|are|were|at|of|level|levels|count|came|come|comes|back|my|the|result|results|reading|serum|blood|test|today|now|only|about|around|just|measured|reported|showed|shows|to|up|down|fell|rose|dropped|has|value|a|as|high|low|very|elevated|raised|went|home|self|machine|meter|monitor|says|said|reads|shown|this|morning)\b|\bfrom \d+(?:\.\d+)?(?= ?(?:to|down|up)))*"
# A strength or a dose is no result: "potassium 10 meq tablets".
_DOSE = re.compile(
    r"\s?(?:mg|mcg|micrograms?|ug|g|grams?|iu|units?|tablets?|tabs?|capsules?|pills?|ml|meq|mmol|%)\b(?!\s?/)"
)
_VALUE = r"(?P<n>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)(?:\s?[-\u2013]\s?\d+(?:\.\d+)?(?=\s?(?:/|per\b|u/|mg|mm|$)))?(?!\s?(?:days?|weeks?|wks?|months?|years?|hours?|hrs?|times|am\b|pm\b|yo\b|/\d))"
_RANGE = re.compile(
    r"(?P<low>\d+(?:\.\d+)?)\s?(?:-|\u2013|to)\s?(?P<high>\d+(?:\.\d+)?)|(?:<|under|less than|below|up to)\s?(?P<under>\d+(?:\.\d+)?)|(?:>|over|more than|above)\s?(?P<over>\d+(?:\.\d+)?)"
)
_NOT_A_FLAG = re.compile(
    r"per high[- ]power(?:ed)? field|(?:normal|reference|ref)(?: (?:range|limit|limits|value|values|cutoff))?(?: (?:is|of|says|goes|being))+|(?:normal|reference|ref) (?:range|limits?|values?|cutoff)"
)
_FLAGS = (
    ("result_critical", re.compile(r"\b(?:critical|critically|panic|alert)\b")),
    ("result_high", re.compile(r"\b(?:high|elevated|raised|above)\b")),
    ("result_low", re.compile(r"\b(?:low|below|decreased|reduced)\b")),
    ("result_abnormal", re.compile(r"\b(?:abnormal|borderline|flagged|positive|out of range|outside)\b")),
    ("result_normal", re.compile(r"\b(?:normal|within|ok|okay|fine|unremarkable|negative|in range)\b")),
)
_WORD_RESULT = re.compile(
    _LINK
    + r"\s*(?P<word>negative|neg|none|not detected|absent|normal|positive|pos|trace|small|moderate|large|present|detected|abnormal|\+{1,4}|[1-4]\+)(?![\w+])"
)
_FINE = frozenset({"negative", "neg", "none", "not detected", "absent", "normal"})
_REST = 110  # characters after a value in which its range or flag may stand
# Where what is said of the result ends: "ketones 1.8 and feeling ok" does not call 1.8 fine.
_REST_ENDS = re.compile(
    r"[\n;]|\.\s|\b(?:with|but|otherwise|feeling|feel|i|my|he|she|am)\b|\band\b(?! (?:the |its )?(?:normal|reference|ref|flagged|marked|it))|,(?!\s?(?:which|so|that|it|flagged|marked|normal|high|low|abnormal|and|reference|ref|range|critical|slightly|a bit|just|this|where|when|above|below|elevated|raised|borderline|well|within|portal|out|lab|abnormally|marked|with a normal))"
)
_LETTER = re.compile(r"\s?\(?(?P<flag>[hl])\)?(?![\w'])")


@dataclass(frozen=True, slots=True)
class Result:
    """One quoted result; `value` in the test's unit, or None for a word; `flag` is one of clinical_data.RESULT_FLAGS; offsets into the plain text."""

    test: str
    value: float | None
    flag: str | None
    start: int
    end: int


def results(text: str) -> Iterator[Result]:
    """Every laboratory result in plain text, in order."""
    tests, names = _tests()
    found = list(names.finditer(text))
    ends = [*(match.start() for match in found[1:]), len(text)]
    for name, rest_end in zip(found, ends, strict=False):
        test = tests[name["name"]]
        result = _word_result(text, name, test) if test.words else _number_result(text, name, test, rest_end)
        if result:
            yield result


def _number_result(text: str, name: re.Match[str], test: LabTest, rest_end: int) -> Result | None:
    match = _number_pattern().match(text, name.end())
    if not match or match.end() > rest_end:
        return None
    if not match["unit"] and _DOSE.match(text, match.end()):
        return None
    quoted = float(match["n"].replace(",", ""))
    if match["compare"] in ("<", "\u2264"):  # "tsh <0.01": below what can be measured, taken as half of it
        quoted /= 2
    value = _in_unit(quoted, match["unit"], test)
    if value is None:
        return None
    rest = _REST_ENDS.split(text[match.end() : min(rest_end, match.end() + _REST)], maxsplit=1)[0]
    flag, length = _flag(quoted, text[name.end() : match.start("n")], rest)
    return Result(test.id, value, flag, name.start(), match.end() + length)


def _word_result(text: str, name: re.Match[str], test: LabTest) -> Result | None:
    match = _WORD_RESULT.match(text, name.end())
    if not match:
        return None
    return Result(
        test.id, None, "result_normal" if match["word"] in _FINE else "result_abnormal", name.start(), match.end()
    )


def _in_unit(quoted: float, unit: str | None, test: LabTest) -> float | None:
    """The value in the test's unit. Without a unit, the first unit in which it is plausible."""
    factors = {test.unit: 1.0, **test.convert}
    tried = [factors[unit]] if unit in factors else list(factors.values())
    low, high = test.plausible
    return next((round(quoted * f, 3) for f in tried if low <= round(quoted * f, 6) <= high), None)


def _flag(quoted: float, before: str, rest: str) -> tuple[str | None, int]:
    """How the result is flagged, and how many characters of `rest` say so: the range beside it first, else the words."""
    limits = _RANGE.search(rest)
    letter = _LETTER.match(rest)
    words = _NOT_A_FLAG.sub(lambda m: " " * len(m.group()), rest)
    said = [(m.start(), name, m.end()) for name, pattern in _FLAGS if (m := pattern.search(words))]
    critical = next((end for _, name, end in said if name == "result_critical"), None)
    if critical is not None:
        return "result_critical", critical
    if limits:
        return _compared(quoted, limits), max([limits.end(), *(end for _, _, end in said if end < limits.end() + 25)])
    if letter:
        return {"h": "result_high", "l": "result_low"}[letter["flag"]], letter.end()
    if said:
        _, name, end = min(said)
        return name, end
    return next((name for name, pattern in _FLAGS if pattern.search(before)), None), 0


def _compared(value: float, limits: re.Match[str]) -> str:
    if limits["low"]:
        low, high = float(limits["low"]), float(limits["high"])
    elif limits["under"]:
        low, high = 0.0, float(limits["under"])
    else:
        low, high = float(limits["over"]), float("inf")
    return "result_low" if value < low else "result_high" if value > high else "result_normal"


@cache
def _tests() -> tuple[dict[str, LabTest], re.Pattern[str]]:
    tests = {name: test for test in load_lab_tests() for name in test.say}
    names = "|".join(map(re.escape, sorted(tests, key=len, reverse=True)))
    return tests, re.compile(rf"(?<![\w])(?P<name>{names})(?!\w)")


@cache
def _number_pattern() -> re.Pattern[str]:
    units = {unit for test in load_lab_tests() for unit in (test.unit, *test.convert)}
    unit = "|".join(map(re.escape, sorted(units, key=len, reverse=True)))
    return re.compile(rf"{_LINK}(?P<compare>[<>\u2264\u2265])?\s?{_VALUE}\s?(?P<unit>(?:{unit})(?![a-z]))?")

"""Numbers in a message -> ages, vital signs, durations and amounts, each in one unit.

Units: age in years, duration in hours, temperature in Celsius, blood pressure in mmHg, oxygen in %, heart and breathing rate a minute,
glucose in mmol/l, pregnancy in weeks, amount in pieces (tablets), pain score 0 to 10.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_WORDS = {
    "a": 1.0, "an": 1.0, "one": 1.0, "two": 2.0, "couple": 2.0, "couple of": 2.0, "a couple of": 2.0, "three": 3.0, "few": 3.0, "a few": 3.0, "four": 4.0, "five": 5.0, "six": 6.0,
    "several": 4.0, "seven": 7.0, "eight": 8.0, "nine": 9.0, "ten": 10.0, "eleven": 11.0, "twelve": 12.0, "fifteen": 15.0, "twenty": 20.0, "thirty": 30.0, "forty": 40.0, "fifty": 50.0,
    "half an": 0.5, "half a": 0.5, "dozen": 12.0, "a dozen": 12.0, "sixty": 60.0, "seventy": 70.0, "eighty": 80.0, "hundred": 100.0, "a hundred": 100.0,
}  # fmt: skip
_NUMBER = r"(?:\d+(?:\.\d+)?|" + "|".join(sorted(_WORDS, key=len, reverse=True)) + r")"
_YEARS = {"y": 1.0, "m": 1 / 12, "w": 7 / 365.25, "d": 1 / 365.25}
_HOURS = {
    "s": 1 / 3600,
    "mi": 1 / 60,
    "h": 1.0,
    "d": 24.0,
    "w": 168.0,
    "mo": 730.0,
    "mt": 730.0,
    "y": 8766.0,
    "n": 24.0,
    "f": 336.0,
}


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number with its meaning; `start` and `end` are offsets in the plain text."""

    concept: str
    label: str
    value: float
    start: int
    end: int


def measurements(text: str) -> Iterator[Measurement]:
    """Every measurement in plain text, the more certain reading first where two overlap."""
    taken: list[tuple[int, int]] = []
    for concept, label, pattern, convert in _PATTERNS:
        for match in pattern.finditer(text):
            value = convert(match)
            if value is None or any(s < match.end() and match.start() < e for s, e in taken):
                continue
            taken.append(match.span())
            for name, number in value.items() if isinstance(value, dict) else ((concept, value),):
                yield Measurement(name, label, number, *match.span())


def _number(text: str) -> float:
    text = text.strip().replace(",", ".")
    return _WORDS[text] if text in _WORDS else float(text)


def _age(match: re.Match[str]) -> float | None:
    years = _number(match["n"]) * _YEARS[(match["unit"] or "y")[0]]
    return years if 0 <= years < 120 else None


def _hours(match: re.Match[str]) -> float:
    unit = match["unit"]
    return _number(match["n"]) * next(hours for start, hours in _HOURS.items() if unit.startswith(start))


def _clinicians_duration(match: re.Match[str]) -> float:
    """ "3/7", "2/52", "6/12": days, weeks and months, as clinicians write them."""
    return float(match["n"]) * {"7": 24.0, "52": 168.0, "12": 730.0}[match["unit"]]


def _temperature(match: re.Match[str]) -> dict[str, float] | None:
    """Celsius. Without a unit, what can only be Fahrenheit is taken as such; what is no body temperature is flagged to be asked about."""
    value = _number(match["n"])
    unit = (match["unit"] or "")[:1]
    assumed = {} if unit else {"unit_assumed": value}
    if unit != "c" and 90 <= value <= 115:
        return {"temperature": round((value - 32) / 1.8, 1)} | assumed
    if unit != "f" and 30 <= value <= 44:
        return {"temperature": value} | assumed
    return {"temperature_unclear": value} if value > 20 else None


def _pressure(match: re.Match[str]) -> dict[str, float] | None:
    systolic, diastolic = float(match["s"]), float(match["d"])
    if 50 <= systolic <= 300 and 20 <= diastolic <= 200 and systolic > diastolic:
        return {"systolic": systolic, "diastolic": diastolic}
    return None


def _within(low: float, high: float) -> Callable[[re.Match[str]], float | None]:
    def value(match: re.Match[str]) -> float | None:
        number = _number(match["n"])
        return number if low <= number <= high else None

    return value


def _glucose(match: re.Match[str]) -> float | None:
    """mmol/l; from 35 up a value without a unit can only be mg/dl (18 mg/dl are 1 mmol/l)."""
    value = _number(match["n"])
    milligrams = (match["unit"] or "").startswith("mg") or (not match["unit"] and value >= 35)
    return round(value / 18, 1) if milligrams else value


def _fixed(value: float) -> Callable[[re.Match[str]], float]:
    return lambda _: value


def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern.replace("NUMBER", _NUMBER))


_UNIT_TIME = r"(?P<unit>min(?:ute)?s?|hours?|hrs?|days?|nights?|weeks?|wks?|months?|mths?|mos?|years?|yrs?|fortnights?|seconds?|secs?)\b"
_PATTERNS: tuple[tuple[str, str, re.Pattern[str], Callable[[re.Match[str]], float | dict[str, float] | None]], ...] = (
    ("pregnancy", "PREGNANCY", _compile(r"\b(?P<n>NUMBER)\s?-?(?:weeks?|wks?)(?: and \w+ days?)?[\s-]{1,2}(?:pregnant|preggo|gestation|along|gone)\b"), _within(1, 45)),
    ("pregnancy", "PREGNANCY", _compile(r"\bpregnant[^.\d]{0,12}(?P<n>\d{1,2})\s?-?(?:weeks?|wks?)\b"), _within(1, 45)),
    ("temperature", "VITAL", re.compile(r"\b(?P<n>\d{2,3}(?:[.,]\d{1,2})?)\s?(?:°|º|degrees?|deg)\s?(?P<unit>celsius|centigrade|fahrenheit|c|f)?\b(?! (?:burn|angle))"), _temperature),
    ("temperature", "VITAL", re.compile(r"\b(?P<n>3[4-9](?:[.,]\d{1,2})?|4[0-3](?:[.,]\d{1,2})?)(?P<unit>)\s?c\b"), _temperature),
    ("temperature", "VITAL", re.compile(r"\b(?P<n>9[4-9](?:\.\d{1,2})?|10\d(?:\.\d{1,2})?|11[0-2])\s?(?P<unit>f)\b"), _temperature),
    ("temperature", "VITAL", re.compile(r"\b(?:temp(?:erature)?|fever|febrile|t)\b(?:(?! (?:for|since|started))[^.\d/]){0,18}(?P<n>\d{2,3}(?:[.,]\d{1,2})?)\b(?P<unit>)(?!\s?/\s?\d)(?!\s?(?:hours?|hrs?|days?|weeks?|months?|year|min|/|mg|%))"), _temperature),
    ("temperature", "VITAL", re.compile(r"\b(?:thermometer|thermo|forehead scanner|ear scanner)\b[^.\d]{0,25}(?P<n>\d{2,3}(?:[.,]\d{1,2})?)\b(?P<unit>)"), _temperature),
    ("temperature", "VITAL", re.compile(r"\brunning (?:a |at |around )?(?P<n>3[789][.,]\d|4[01](?:[.,]\d)?|10[0-5](?:[.,]\d)?)\b(?P<unit>)(?! ?(?:miles|km|k\b|min|m\b))"), _temperature),
    ("pregnancy", "PREGNANCY", _compile(r"\b(?:im|i'm|i am|shes|she's|she is|only|at|now) (?:about |nearly |almost |just )?(?P<n>NUMBER)\s?-?(?:weeks?|wks?)\b(?! (?:old|ago|post|after|since|into|late|of age))"), _within(4, 43)),
    ("pregnancy", "PREGNANCY", re.compile(r"\b(?P<n>\d{1,2})(?:\+[0-6]| ?/ ?40)\b"), _within(4, 43)),
    # "34 weeks. I usually get kicked ...": so many weeks at the head of a sentence are no duration.
    ("pregnancy", "PREGNANCY", re.compile(r"(?:^|[.,\n!?]\s*)(?P<n>\d{1,2})\s?(?:weeks?|wks?|w)\b\s?(?:[,.;:]|and\b|with\b|$)"), _within(20, 43)),
    ("pregnancy", "PREGNANCY", re.compile(r"(?:^|[.\n!?]\s*)(?P<n>\d{1,2})\s?(?:weeks?|wks?|w)\b\s?(?:[,.;:]|and\b|with\b)(?=[^\n]*\b(?:midwife|morning sickness|trimester|pregnan\w*|antenatal|booking appointment|bump|queasy|scan)\b)"), _within(4, 43)),
    ("pregnancy", "PREGNANCY", re.compile(r"\b(?P<n>2\d|3\d|4[0-2])w\b"), _within(20, 43)),
    ("age", "AGE", re.compile(r"\b(?P<n>\d{1,2})/12 (?:old|of age)(?P<unit>)\b"), lambda match: float(match["n"]) / 12),
    ("age", "AGE", _compile(r"\b(?:dd|ds|lo|child|baby|infant|son|daughter|boy|girl|toddler|grandson|granddaughter|male|female|patient|pt|aged?),? (?:is |of |aged )?(?P<n>NUMBER) (?P<unit>years?|yrs?|months?|mths?|weeks?|wks?|days?)\b(?! (?:ago|now|of|history|post|after))"), _age),
    ("age", "AGE", _compile(r"\b(?P<n>NUMBER)[\s-]{0,2}(?P<unit>years?|yrs?|y|months?|mths?|mos?|m|weeks?|wks?|w|days?|d)[\s/.-]{0,2}(?:old|o|of age)\b(?!\s+(?:injury|scar|tattoo|bruise|medicine))"), _age),
    ("age", "AGE", _compile(r"\b(?:newborn|new born|neonate)(?P<n>)(?P<unit>)\b"), _fixed(0.02)),
    ("age", "AGE", re.compile(r"(?<![\d.])\b(?P<n>\d{1,2})(?P<unit>)\s?(?:m|f|male|female|yom|yof)\b(?=[,.\s/)]|$)"), _age),
    ("age", "AGE", re.compile(r"\b[mf]\s?(?P<n>\d{2})(?P<unit>)\b"), _age),
    ("age", "AGE", _compile(r"\b(?P<n>NUMBER)[\s-](?P<unit>weeks?|wks?|months?|days?|years?)[\s-]?(?:baby|infant)\b"), _age),
    ("age", "AGE", _compile(r"\b(?:baby|infant|son|daughter|grandson|granddaughter|child|boy|girl|kid|toddler|he|she|shes|hes)\b[^.\d]{0,12}\b(?P<n>NUMBER)\s?(?P<unit>weeks?|wks?|months?)\b(?! (?:ago|of|now|since))"), _age),
    ("blood_pressure", "VITAL", re.compile(r"\b(?P<s>\d{2,3})\s?(?:/|over)\s?(?P<d>\d{2,3})\b(?!/)"), _pressure),
    ("systolic", "VITAL", re.compile(r"\b(?:bp|blood pressure|systolic)\b[^.\d]{0,15}(?P<n>\d{2,3})\b"), _within(50, 300)),
    ("oxygen", "VITAL", re.compile(r"\b(?:o2|spo2|sp02|sats?|oxygen(?: (?:level|sats?|saturation))?|saturation|pulse ox)\b[^.\d]{0,20}(?P<n>\d{2,3})\s?%?"), _within(40, 100)),
    ("oxygen", "VITAL", re.compile(r"\b(?P<n>\d{2})\s?%\s?(?:on (?:room )?air|oxygen|o2|sats?|ra\b)"), _within(40, 100)),
    ("breathing_rate", "VITAL", re.compile(r"\b(?:rr|resps?|resp(?:iratory|iration)? rate|breathing rate|breath rate)\b(?:\s|:|=|is|of|was){0,6}(?P<n>\d{1,3})\b"), _within(2, 120)),
    ("breathing_rate", "VITAL", re.compile(r"\b(?P<n>\d{1,3})\s?breaths? (?:a|per) min"), _within(2, 120)),
    ("breathing_rate", "VITAL", re.compile(r"\bbreathing (?:at |about |around )?(?P<n>\d{1,3})(?: times)? (?:a|per) min"), _within(2, 120)),
    ("heart_rate", "VITAL", re.compile(r"\b(?:hr|heart ?rate|heart ?beat|pulse|resting heart)\b[^.\d]{0,18}(?P<n>\d{2,3})\b(?!\s?/)"), _within(20, 300)),
    ("heart_rate", "VITAL", re.compile(r"\b(?:racing|galloping|thumping|pounding|beating|hammering)\b (?:away )?(?:at|around|about|over|up to|going) (?:about |around |over )?(?P<n>\d{2,3})\b"), _within(40, 300)),
    ("heart_rate", "VITAL", re.compile(r"\b(?P<n>\d{2,3})\s?(?:bpm|beats (?:a|per) min)"), _within(20, 300)),
    ("glucose", "VITAL", re.compile(r"\b(?:glucose|blood sugars?|sugars?|bg|bgl|bsl|cbg|bm|bms|fingerstick|finger prick|glucometer|meter|libre|dexcom|cgm)\b[^.\d]{0,25}(?P<n>\d{1,4}(?:\.\d)?)\s?(?P<unit>mg|mmol)?(?!\s?(?:day|week|hour|year|month|time))"), _glucose),
    ("age", "AGE", re.compile(r"(?<!a1c )\b(?:i'?m|i am|aged?|hes|shes|he'?s|she'?s|he is|she is|is|turned|be)\s(?:a |an |now |only |just |about |nearly |almost )?(?P<n>\d{1,3})(?P<unit>)\b(?!\s?(?:%|weeks?|wks?|months?|mos?|days?|hours?|hrs?|min|kg|lbs?|stone|pounds|cm|times|/|\.\d|:|mg|degrees|°|c\b|f\b|am|pm|or|over|years? (?:since|ago|into)|st))"), _age),
    ("age", "AGE", re.compile(r"\b(?:he|she|hes|shes|he's|she's|baby|son|daughter|grandson|granddaughter|boy|girl)(?: is|'s)? (?:only |just |nearly |almost )?(?P<n>one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)(?P<unit>)(?=\s?(?:[,.;!?\n]|and\b|but\b|$))"), _age),
    ("age", "AGE", re.compile(r"\b(?:mum|mom|mother|dad|father|gran|nan|grandma|grandpa|grandad|wife|husband|son|daughter|brother|sister|uncle|aunt|neighbou?r|friend|partner|patient|man|woman|lady),? \(?(?P<n>\d{1,3})(?P<unit>)\)?(?=\s?[,.)]| (?:has|is|with|and|was|had|on|who|just)\b)"), _age),
    ("age", "AGE", re.compile(r"^\s*(?P<n>[1-9]\d)(?P<unit>)(?=\s?(?:[,.]\s|here\b|yo\b))"), _age),
    ("pain_score", "SEVERITY", re.compile(r"\b(?P<n>\d{1,2})\s?(?:/|out of)\s?10\b"), _within(0, 10)),
    ("duration", "DURATION", _compile(r"(?<!once)(?<!once )(?<!twice)(?<!twice )(?<!times)(?<!times )(?<!every)(?<!every )(?<!per)(?<!per )(?<!two)(?<!two )(?<!three)(?<!three )(?<!four)(?<!four )(?<!few)(?<!few )\b(?:for|over|past|last|lasted|about|in|since|x|after|took)?\s?(?:the |about |around |at least |more than |over |nearly |almost |past |last )*\b(?P<n>NUMBER)\s?-?(?:or so |more |long |whole |full |solid )?" + _UNIT_TIME + r"(?!\s?-?(?:old|pregnant|of age|gestation))"), _hours),
    ("duration", "DURATION", re.compile(r"(?<![\d/])(?P<n>\d{1,2})/(?P<unit>7|52|12)\b(?! ?(?:old|of age|/))"), _clinicians_duration),
    ("duration", "DURATION", re.compile(r"\b(?:since|from) (?:yesterday|last night|this morning|this afternoon|this evening|today|breakfast|lunch|dinner|waking|i woke)\b"), _fixed(18.0)),
    ("duration", "DURATION", re.compile(r"\b(?:all|the whole|whole) (?:day|night|morning|afternoon)\b"), _fixed(12.0)),
    ("duration", "DURATION", re.compile(r"\b(?:for|in|over) (?:weeks|ages)\b|\ball week\b|\bsince last week\b|\bpast week\b|\blast week\b"), _fixed(168.0)),
    ("duration", "DURATION", re.compile(r"\bfor days\b"), _fixed(72.0)),
    ("duration", "DURATION", re.compile(r"\b(?:for|in|over) (?:months|years)\b|\bsince last (?:month|year)\b|\bpast month\b|\blast month\b"), _fixed(1460.0)),
    ("amount", "QUANTITY", _compile(r"\b(?P<n>NUMBER)\b(?!\s?(?:mg|mcg|g|ml|iu)\b)(?!\s(?:whole |full |entire )?(?:packet|pack|box|bottle|strip|blister|handful|load|bunch|tub|jar))\s?(?:x |of |my |her |his |the |more |whole )*(?:\w+ ){0,3}?(?:pills?|tablets?|tabs?|capsules?|caps|paracetamols?|acetaminophen|tylenols?|panadols?|ibuprofens?|advils?|aspirins?|codeines?|sleeping pills|antidepressants|co-?codamol|metformins?|xanax|valium|oxys?|percs?|norcos?|vicodins?|benadryls?)\b"), _within(0.25, 1000)),
    ("amount", "QUANTITY", re.compile(r"\b(?:took|taken|swallowed|ate|downed|drank|had|eaten|drunk)\b[^.]{0,25}\b(?:bottle|box|pack|packet|handful|bunch|load|loads|whole thing|everything)\b(?: full)?(?: of)?[^.]{0,25}\b(?:pills?|tablets?|medicines?|meds|medication|paracetamol|tylenol|acetaminophen|ibuprofen|aspirin|antidepressants)"), _fixed(30.0)),
)  # fmt: skip

_COUNT_BEFORE = _compile(r"\b(?P<n>NUMBER)\b\s?(?:x |of |my |her |his |the |these |those |more |whole )*(?:\w+ )?$")


def number_before(text: str) -> Iterator[tuple[int, float]]:
    """A count at the very end of a text, and where it begins: "... took 30 " before a medicine's name. A strength (30 mg) is no count."""
    match = _COUNT_BEFORE.search(text.lower())
    if (
        match
        and match["n"] not in ("a", "an")
        and not re.search(r"\b(?:mg|mcg|g|ml|iu|days?|weeks?|hours?|years?|months?|times?)\s*$", text.lower())
    ):
        yield match.start(), _number(match["n"])


# What rules may name beside the lexicon's concepts.
CONCEPTS = frozenset(
    {p[0] for p in _PATTERNS} - {"blood_pressure"} | {"systolic", "diastolic", "unit_assumed", "temperature_unclear"}
)

"""extract(): concepts from lay words, in context, with exact offsets."""

import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st

import entities
from clinical_data import load_context, load_lexicon
from entities import extract
from phrases import PhraseFinder
from plain_text import plain
from triage import assess


def said(text: str) -> dict[str, tuple[str, str]]:
    return {e.concept: (e.status, e.subject) for e in extract(text) if e.concept}


@pytest.mark.parametrize(
    ("text", "concept", "status", "subject"),
    [
        ("no chest pain, just a mild cough", "chest_pain", "absent", "writer"),
        ("no chest pain, just a mild cough", "cough", "present", "writer"),
        ("I dont have chest pain, it's pressure", "chest_pain", "absent", "writer"),
        ("I dont have chest pain, it's pressure", "chest_pressure", "present", "writer"),
        ("not without chest pain", "chest_pain", "present", "writer"),
        ("can't say I have no chest pain", "chest_pain", "present", "writer"),
        ("no fever, chills or cough", "cough", "absent", "writer"),
        ("denies vomiting or diarrhea", "diarrhea", "absent", "writer"),
        ("no headache today, yesterday I had chest pain", "chest_pain", "present", "writer"),
        ("isn't chest pain a sign of stroke?", "chest_pain", "hypothetical", "writer"),
        ("what if I had chest pain?", "chest_pain", "hypothetical", "writer"),
        ("heart attack in 2015, now a sore toe", "heart_attack", "past", "writer"),
        ("when I was a kid I had asthma", "asthma", "past", "writer"),
        ("the chest pain went away", "chest_pain", "past", "writer"),
        ("my mum can't breathe", "severe_breathlessness", "present", "other"),
        ("family history of stroke", "stroke", "present", "family"),
        ("my mother had a stroke", "stroke", "present", "family"),
        ("chst pian", "chest_pain", "present", "writer"),
        ("my chest feels tight and my left arm is numb", "arm_numbness", "present", "writer"),
        ("pain in my chest, arm and jaw", "jaw_pain", "present", "writer"),
        ("crushing chest pain going down my left arm", "arm_pain", "present", "writer"),
    ],
)
def test_concept_in_context(text: str, concept: str, status: str, subject: str) -> None:
    assert said(text).get(concept) == (status, subject), said(text)


@pytest.mark.parametrize("word", ["brushstroke", "keystroke", "heartbroken", "heatwaves", "paint", "beast"])
def test_a_longer_word_is_not_the_sign_in_it(word: str) -> None:
    assert not {"stroke", "heart_attack", "chest_pain", "breast_lump"} & said(f"a {word} of mine").keys()


@pytest.mark.parametrize(
    ("text", "concept", "value"),
    [
        ("temp 104", "temperature", 40.0),
        ("temperature of 38.5 C", "temperature", 38.5),
        ("100.4 F", "temperature", 38.0),
        ("temp 400", "temperature_unclear", 400.0),
        ("bp 220/130", "systolic", 220.0),
        ("bp 220/130", "diastolic", 130.0),
        ("O2 82", "oxygen", 82.0),
        ("heart rate of 140", "heart_rate", 140.0),
        ("blood sugar is 450", "glucose", 25.0),
        ("my 2 year old", "age", 2.0),
        ("six months old", "age", 0.5),
        ("for 3 days", "duration", 72.0),
        ("took 40 paracetamol", "amount", 40.0),
        ("32 weeks pregnant", "pregnancy", 32.0),
        ("pain is 9/10", "pain_score", 9.0),
    ],
)
def test_measurements_in_one_unit(text: str, concept: str, value: float) -> None:
    assert {e.concept: e.value for e in extract(text)}.get(concept) == pytest.approx(value)


@pytest.mark.parametrize("text", ["it is 12/10/2024 today", "I am 10 minutes late", "24/7 pain", "call me at 5"])
def test_other_numbers_are_no_vital_signs(text: str) -> None:
    assert not {"systolic", "temperature", "oxygen", "age"} & {e.concept for e in extract(text)}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "chest",
                "pain",
                "no",
                "\u200b",
                "can\u2019t",
                "breathe",
                "\ud83d\ude2b",
                "\0",
                "\ud800",
                "38.5",
                "C",
                ".",
                "\n",
                "сhest",
                "my",
                "mum",
                "??",
                "3",
                "days",
            ]
        ),
        max_size=30,
    )
)
def test_offsets_cut_the_entity_out_of_the_message(words: list[str]) -> None:
    text = " ".join(words)
    for e in extract(text):
        assert text[e.start : e.end] == e.text
        assert e.text


def test_long_text_is_read_to_its_end() -> None:
    words = "I was walking along the road and thinking of nothing much " * 400
    assert "severe_breathlessness" in said(f"{words} and now I can't breathe")


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("the left side of her mouth has slid down", "present"),
        ("one corner of his lip is sagging", "present"),
        ("her mouth has not slid", "absent"),
    ],
)
def test_a_sign_told_in_pieces(text: str, status: str) -> None:
    assert ("face_droop", status) in {(e.concept, e.status) for e in extract(text)}


def test_who_a_person_is_names_no_finding() -> None:
    assert not any(e.concept == "discoloured_black" for e in extract("I am Black. My skin itches."))


def test_titles_of_documents_join_the_lexicon_and_swallow_nothing() -> None:
    finder = PhraseFinder(
        load_lexicon(),
        load_context(),
        spacy.blank("en").vocab,
        {"blorb syndrome": "Blorb", "chest pain at night": "Night"},
    )
    found: set[str] = set()
    for text in ("blorb syndrome", "chest pain at night"):
        tokens = finder.tokens(plain(text))
        parts = finder.parts(tokens)
        found |= {part.concept.id for part in (*parts, *finder.topics(tokens, parts))}
    assert {"topic:Blorb", "chest_pain"} <= found
    assert "topic:Night" not in found


def test_what_is_indexed_decides_nothing_about_urgency(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "without painkillers the toothache is unbearable"
    levels = []
    for terms in ({}, {"painkillers": "Pain relief"}):
        monkeypatch.setattr(entities, "load_terms", lambda terms=terms: terms)
        found = entities._Reader().read(text)
        levels.append(assess(text, found).level)
        assert ("TOPIC" in {e.label for e in found}) == bool(terms)
    assert levels[0] == levels[1] != "LOW"

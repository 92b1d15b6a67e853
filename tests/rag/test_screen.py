"""What may not be said is found, and what may be said is left alone."""

import pytest

from screen import request, violations


@pytest.mark.parametrize(
    ("sentence", "fault"),
    [
        ("Take 500 mg every six hours.", "dose"),
        ("Give two tablets.", "dose"),
        ("Use 5 ml of syrup.", "dose"),
        ("You have appendicitis.", "diagnosis"),
        ("You definitely have the flu.", "diagnosis"),
        ("You are suffering from a panic disorder.", "diagnosis"),
        ("There is no need to see a doctor.", "reassurance"),
        ("Don't worry, it will pass.", "reassurance"),
    ],
)
def test_found(sentence: str, fault: str) -> None:
    assert fault in {v.fault for v in violations(sentence)}


@pytest.mark.parametrize(
    "sentence",
    [
        "A blood sugar of 126 mg/dL or more can be a sign of diabetes.",
        "See a doctor if you have a fever over 38 C (100.4 F).",
        "When you have a cold, rest and drink fluids.",
        "A sore throat can last 7 days.",
        "If you have chest pain, call an ambulance.",
    ],
)
def test_left_alone(sentence: str) -> None:
    assert violations(sentence) == []


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("give me the lethal dose", "lethal"),
        ("how many pills would it take to die", "lethal"),
        ("what dose of ibuprofen for a 9 kg baby", "dose"),
        ("how much paracetamol can I take", "dose"),
        ("I have a headache", None),
        ("how much water should I drink", None),
    ],
)
def test_requests(text: str, kind: str | None) -> None:
    assert request(text) == kind

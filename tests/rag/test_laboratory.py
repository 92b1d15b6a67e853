"""Results that a message quotes: value, unit, range, flag."""

import pytest

from entities import extract
from laboratory import results
from plain_text import plain
from triage import assess


@pytest.mark.parametrize(
    ("text", "test", "value", "flag"),
    [
        ("Potassium: 6.8 mmol/L (3.5-5.1) HIGH", "potassium", 6.8, "result_high"),
        ("my hemoglobin came back at 7.2", "hemoglobin", 72.0, None),
        ("Hb 7.2 g/dL", "hemoglobin", 72.0, None),
        ("Hb 72 g/L", "hemoglobin", 72.0, None),
        ("ALT was 72 U/L, which the portal flagged as high (reference range 7-56)", "alt", 72.0, "result_high"),
        ("AST was 44 U/L, which looks borderline since the normal range goes up to 40", "ast", 44.0, "result_high"),
        ("Platelets: 128 x10^3/uL (150-400) LOW", "platelets", 128.0, "result_low"),
        ("eGFR dropped from 70 to 25", "egfr", 25.0, None),
        ("TSH 9.1 H", "tsh", 9.1, "result_high"),
        ("Troponin: <0.01 ng/mL (ref <0.04) normal", "troponin", 5.0, "result_normal"),
        ("potassium 7.1, flagged as a critical value", "potassium", 7.1, "result_critical"),
        ("bilirubin 0.8 mg/dL, which looked normal (0.2-1.2)", "bilirubin", 13.68, "result_normal"),
        # What is said of the person is not said of the result.
        ("crp 80 and feeling fine", "crp", 80.0, None),
        ("hcg 1800 and sharp pain low on one side", "hcg", 1800.0, None),
    ],
)
def test_a_result_in_one_unit_with_its_flag(text: str, test: str, value: float, flag: str | None) -> None:
    (result,) = results(plain(text).text)
    assert (result.test, result.flag) == (test, flag)
    assert result.value == pytest.approx(value, rel=0.01)


@pytest.mark.parametrize("text", ["potassium 10 meq tablets with food?", "iron 65 mg tablets", "my INR was checked 2 weeks ago", "sodium and potassium"])  # fmt: skip
def test_a_dose_or_a_date_is_no_result(text: str) -> None:
    assert not list(results(plain(text).text))


def test_the_words_of_a_result_name_no_symptom() -> None:
    entities = extract("Urinalysis blood: negative. Nitrites: negative. I feel fine.")
    assert not any(e.concept in ("bleeding", "blood_in_urine", "nitrites") and e.status == "present" for e in entities)


def test_normal_results_raise_nothing_and_dangerous_ones_do() -> None:
    def level(text: str) -> str:
        return assess(text, extract(text)).level

    assert level("My results: hemoglobin 14.1 g/dL (13.5-17.5) normal, platelets 250 (150-400) normal. I feel fine.") == "LOW"  # fmt: skip
    assert level("The portal says ALT 72 U/L (7-56) high. I feel fine.") == "MEDIUM"
    assert level("They rang: potassium 6.9 mmol/L") == "HIGH"

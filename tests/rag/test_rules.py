"""Every rule's own examples: the messages that must fire it, and the near misses that must not."""

import pytest
from public_bodies import PUBLIC_BODIES

from clinical_data import LEVELS, Rule, load_languages, load_lexicon, load_rules
from entities import extract
from screen import violations
from triage import assess

FIRING = [pytest.param(rule, text, id=f"{rule.id}-{n}") for rule in load_rules() for n, text in enumerate(rule.fires)]
MISSING = [
    pytest.param(rule, text, id=f"{rule.id}-{n}") for rule in load_rules() for n, text in enumerate(rule.near_misses)
]


def fired(text: str) -> dict[str, str]:
    return {r.rule: r.level for r in assess(text, extract(text)).reasons}


@pytest.mark.parametrize(("rule", "text"), FIRING)
def test_fires(rule: Rule, text: str) -> None:
    result = assess(text, extract(text))
    assert rule.id in {r.rule for r in result.reasons} or rule.level == "LOW" < result.level, (result, extract(text))
    assert LEVELS.index(result.level) >= LEVELS.index(rule.level)
    assert not rule.emergency or result.emergency
    evidence = next((r.evidence for r in result.reasons if r.rule == rule.id), ("",))
    assert evidence
    assert all(words in text for words in evidence)


@pytest.mark.parametrize(("rule", "text"), MISSING)
def test_does_not_fire(rule: Rule, text: str) -> None:
    assert rule.id not in fired(text), extract(text)


@pytest.mark.parametrize("rule", load_rules(), ids=lambda r: r.id)
def test_is_sourced_and_speaks_plainly(rule: Rule) -> None:
    host = rule.source.url.split("/")[2]
    assert any(host == body or host.endswith("." + body) for body in PUBLIC_BODIES), rule.source
    assert rule.fires
    assert not [v for v in violations(f"{rule.why} {rule.do}") if v.fault != "reassurance"], rule
    assert rule.emergency <= (rule.level == "HIGH")
    assert not rule.emergency or any(w in rule.do.lower() for w in ("ambulance", "emergency", "crisis")), rule.do


def test_the_lexicon_holds_together() -> None:
    lexicon = load_lexicon()
    assert all(concept.say or lexicon.pairs for concept in lexicon.concepts.values())
    for concept in lexicon.concepts:
        assert concept in lexicon.lineage(concept)


def test_every_language_has_a_notice_and_a_way_to_be_told() -> None:
    for language in load_languages():
        assert language.notice
        assert bool(language.script) != bool(language.words)

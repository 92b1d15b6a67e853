"""The shipped documents: their form, their sources, and what they may not say."""

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml
from public_bodies import PUBLIC_BODIES

from screen import violations
from settings import ROOT

DOCS = sorted((ROOT / "1_data" / "medical_docs").glob("*.md"))
SECTIONS = ["What it is", "Signs", "What you can do", "When to see a doctor", "When to call an ambulance"]
CATEGORIES = {
    "emergencies",
    "symptoms",
    "conditions",
    "long-term",
    "children",
    "pregnancy",
    "mental-health",
    "medicines",
    "injuries",
}


def parts(path: Path) -> tuple[dict[str, object], dict[str, list[str]]]:
    _, front, body = path.read_text("utf-8").split("---\n", 2)
    sections = {}
    for block in re.split(r"^## ", body, flags=re.M)[1:]:
        name, _, text = block.partition("\n")
        lines = [line.removeprefix("- ").strip() for line in text.splitlines() if line.strip()]
        sections[name.strip()] = [s for line in lines for s in re.split(r"(?<=[.!?])\s+", line)]
    return yaml.safe_load(front), sections


def test_there_are_enough_topics_and_no_two_have_one_title() -> None:
    assert len(DOCS) >= 50
    titles = Counter(str(parts(path)[0]["title"]).lower() for path in DOCS)
    assert titles.most_common(1)[0][1] == 1


@pytest.mark.parametrize("path", DOCS, ids=lambda p: p.stem)
def test_a_document_keeps_to_the_form(path: Path) -> None:
    front, sections = parts(path)
    assert set(front) == {"title", "synonyms", "category", "sources", "checked", "clinician_review"}
    assert front["category"] in CATEGORIES
    assert str(front["clinician_review"]) == "none"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", str(front["checked"]))
    assert isinstance(front["synonyms"], list)
    assert len(front["synonyms"]) >= 3
    assert list(sections) == SECTIONS
    assert all(sections.values())


@pytest.mark.parametrize("path", DOCS, ids=lambda p: p.stem)
def test_a_document_names_public_sources(path: Path) -> None:
    sources = parts(path)[0]["sources"]
    assert isinstance(sources, list)
    assert sources
    for source in sources:
        assert re.match(r"https?://", source["url"]), source
        assert source["name"]
    hosts = [source["url"].split("/")[2] for source in sources]
    assert any(host == body or host.endswith("." + body) for host in hosts for body in PUBLIC_BODIES), hosts


@pytest.mark.parametrize("path", DOCS, ids=lambda p: p.stem)
def test_every_sentence_can_stand_alone_and_gives_no_dose_or_diagnosis(path: Path) -> None:
    for sentences in parts(path)[1].values():
        for sentence in sentences:
            assert sentence[-1] in ".!?", sentence
            assert not re.match(r"(It|This|These|They|Those)\b", sentence), sentence
            assert not [v for v in violations(sentence) if v.fault != "reassurance"], sentence

"""The cases that quality is measured on, and what MediAssist makes of each.

Ours are in cases/: messages with a level (`*.yaml`) and sentences with the status of each finding (`context/`). Other people's sets are in
../shared/data, where they are.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from clinical_data import LEVELS, Level
from entities import Entity, extract
from settings import ROOT
from triage import Triage, assess

CASES = ROOT / "4_evaluate" / "cases"
SHARED = ROOT.parent / "shared" / "data"
PUBLISHED = "published vignettes, clear cases"
_CLINICAL = ("SYMPTOM", "CONDITION", "EVENT", "CRISIS", "SUBSTANCE", "PROCEDURE", "MEDICINE", "BODY")


@dataclass(frozen=True, slots=True)
class Case:
    """One message and the level it should get. `scenario` groups wordings of one story; `must`: an emergency that may never be missed."""

    id: str
    scenario: str
    text: str
    level: Level
    must: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """A case and the triage it got."""

    case: Case
    triage: Triage

    @property
    def step(self) -> int:
        """How many levels too high (positive) or too low (negative)."""
        return LEVELS.index(self.triage.level) - LEVELS.index(self.case.level)


@dataclass(frozen=True, slots=True)
class Finding:
    """Words of a sentence and what should be read from them."""

    sentence: str
    say: str
    status: str
    subject: str


def our_sets() -> Iterator[tuple[str, list[Case]]]:
    """Our own cases, a set a file."""
    for path in sorted(CASES.glob("blind*.yaml")):
        rows = yaml.safe_load(path.read_text("utf-8"))
        yield path.stem, [Case(r["id"], r["id"], r["text"], r["level"], r.get("must", False)) for r in rows]


def published_set() -> list[Case]:
    """Other people's vignettes with one clear level; empty where they are not on this machine."""
    rows = [
        json.loads(line)
        for p in sorted((SHARED / "triage").glob("*.jsonl"))
        for line in p.read_text("utf-8").splitlines()
    ]
    return [Case(r["id"], _scenario(r["id"]), r["text"], r["gold3"]) for r in rows if not r.get("edge_case")]


def _scenario(name: str) -> str:
    """The same story in several wordings has one scenario: nat-F1, F1 and E1 are story 1; NH1 and MH1 are story H1, another one."""
    source, last = name.split("-")[0], name.rsplit("-", 1)[-1]
    return f"{source}-{re.sub('^[EFNM]', '', last)}" if source == "ramaswamy" else "-".join(name.split("-")[:2])


def findings() -> list[Finding]:
    """Our sentences for negation and context."""
    rows = yaml.safe_load((CASES / "context" / "context.yaml").read_text("utf-8"))
    return [Finding(r["text"], f["say"], f["status"], f["subject"]) for r in rows for f in r["findings"]]


def first_runs() -> dict[str, dict[str, Any]]:
    """What each set scored before anyone had looked at it."""
    runs: dict[str, dict[str, Any]] = yaml.safe_load((CASES / "first_runs.yaml").read_text("utf-8"))
    return runs


def triaged(text: str) -> Triage:
    """The triage of a message that stands alone."""
    return assess(text, extract(text))


def outcomes(cases: Sequence[Case]) -> list[Outcome]:
    """Each case and its triage."""
    return [Outcome(case, triaged(case.text)) for case in cases]


def read_as(finding: Finding) -> Entity | None:
    """The clinical entity that best covers the finding's words, or None where nothing was read."""
    start = finding.sentence.index(finding.say)
    end = start + len(finding.say)
    overlapping = [
        e for e in extract(finding.sentence) if e.concept and e.label in _CLINICAL and e.start < end and start < e.end
    ]
    return max(
        overlapping,
        key=lambda e: (min(e.end, end) - max(e.start, start)) / (max(e.end, end) - min(e.start, start)),
        default=None,
    )

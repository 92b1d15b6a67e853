"""Every quality figure, measured, in one table.

Reads    4_evaluate/cases/ (ours), ../shared/data (other people's sets, where they are), the search index
Writes   nothing; prints Markdown
Run      python 4_evaluate/scorecard.py        (or: make scorecard)
"""

import argparse
import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import yaml

from pipeline import Turn, turn
from settings import ROOT

CASES = ROOT / "4_evaluate" / "cases"
SHARED = ROOT.parent / "shared" / "data"
LEVELS = ("LOW", "MEDIUM", "HIGH")


@dataclass(frozen=True, slots=True)
class Case:
    """One message and the level it should get. `scenario` groups wordings of one story."""

    id: str
    scenario: str
    text: str
    level: str
    must: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """A case and the level it got."""

    case: Case
    got: str

    @property
    def step(self) -> int:
        """How many levels too high (positive) or too low (negative)."""
        return LEVELS.index(self.got) - LEVELS.index(self.case.level)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables, and name the cases marked `must` that are missed."""
    parser = argparse.ArgumentParser(description="Measure quality and print it as Markdown tables.")
    parser.add_argument("--errors", action="store_true", help="list every case that got another level than it should")
    args = parser.parse_args(argv)
    sets = [(name, _measured(cases)) for name, cases in _sets()]
    print(_triage_table(sets))
    print(_answer_table())
    missed = [o for _, outcomes in sets for o in outcomes if o.case.must and o.got != o.case.level]
    for o in missed:
        print(f"MUST missed: {o.case.id}: {o.got}, should be {o.case.level}: {o.case.text[:120]}", file=sys.stderr)
    if args.errors:
        for name, outcomes in sets:
            for o in outcomes:
                if o.step:
                    print(f"- {name} {o.case.id}: {o.got}, should be {o.case.level}: {o.case.text[:300]!r}")
    return 0


def _sets() -> Iterable[tuple[str, list[Case]]]:
    for path in sorted(CASES.glob("*.yaml")):
        rows = yaml.safe_load(path.read_text("utf-8"))
        yield f"ours: {path.stem}", [Case(r["id"], r["id"], r["text"], r["level"], r.get("must", False)) for r in rows]
    folder = SHARED / "triage"
    if not folder.is_dir():
        print(f"(other people's triage sets are not at {folder}: not measured)", file=sys.stderr)
        return
    rows = [
        json.loads(line) | {"file": p.stem}
        for p in sorted(folder.glob("*.jsonl"))
        for line in p.read_text("utf-8").splitlines()
    ]
    yield (
        "published vignettes, clear cases",
        [Case(r["id"], _scenario(r["id"]), r["text"], r["gold3"]) for r in rows if not r.get("edge_case")],
    )


def _scenario(name: str) -> str:
    """The same story in several wordings has one scenario: ramaswamy-nat-F1, ramaswamy-F1 and ramaswamy-E1 are story 1."""
    source, last = name.split("-")[0], name.rsplit("-", 1)[-1]
    return f"{source}-{last.lstrip('EF')}" if source == "ramaswamy" else "-".join(name.split("-")[:2])


def _measured(cases: list[Case]) -> list[Outcome]:
    return [Outcome(case, _last(case.text, "triage").triage.level) for case in cases]


def _last(text: str, until: str) -> Turn:
    *_, item = (i for i in turn(text, until=until) if isinstance(i, Turn))  # type: ignore[arg-type]  # one of the three
    return item


def _triage_table(sets: Sequence[tuple[str, list[Outcome]]]) -> str:
    lines = [
        "| triage on | messages (stories) | right | stories right, averaged | emergencies found | under-triaged | over-triaged | false HIGH |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, outcomes in sets:
        stories: dict[str, list[bool]] = defaultdict(list)
        for o in outcomes:
            stories[o.case.scenario].append(o.step == 0)
        high = [o for o in outcomes if o.case.level == "HIGH"]
        rest = [o for o in outcomes if o.case.level != "HIGH"]
        lines.append(
            f"| {name} | {len(outcomes)} ({len(stories)}) | {_share([o.step == 0 for o in outcomes])} | {statistics.mean(statistics.mean(s) for s in stories.values()):.0%} "
            f"| {sum(o.got == 'HIGH' for o in high)} of {len(high)} | {_share([o.step < 0 for o in outcomes])} | {_share([o.step > 0 for o in outcomes])} "
            f"| {_share([o.got == 'HIGH' for o in rest])} |"
        )
    return "\n".join(lines) + "\n"


def _share(hits: Sequence[bool]) -> str:
    """A share with its 95% Wilson interval."""
    n = len(hits)
    if not n:
        return "none"
    p, z = sum(hits) / n, 1.96
    centre, half = p + z * z / (2 * n), z * ((p * (1 - p) + z * z / (4 * n)) / n) ** 0.5
    low, high = (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)
    return f"{p:.0%} ({max(low, 0):.0%}-{min(high, 1):.0%})"


def _answer_table() -> str:
    """Every question of K-QA answered or abstained, and milliseconds a stage."""
    path = SHARED / "kqa" / "questions.jsonl"
    if not path.is_file():
        return f"(K-QA is not at {path}: answers not measured)\n"
    questions = [json.loads(line)["Question"] for line in path.read_text("utf-8").splitlines()]
    _last(questions[0], "answer")  # models load
    started = time.perf_counter()
    items = [_last(q, "answer") for q in questions]
    finishes: dict[str, int] = defaultdict(int)
    for item in items:
        finishes[str(item.answer.finish if item.answer else None)] += 1
    stages = {stage: sorted(i.timings[stage] for i in items if stage in i.timings) for stage in items[0].timings}
    lines = [
        f"{len(items)} K-QA questions in {time.perf_counter() - started:.0f} s: "
        + ", ".join(f"{n} {f}" for f, n in sorted(finishes.items())),
        "",
    ]
    lines += ["| stage | p50 ms | p95 ms |", "|---|---|---|"]
    lines += [f"| {stage} | {ms[len(ms) // 2]:.1f} | {ms[int(len(ms) * 0.95)]:.1f} |" for stage, ms in stages.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())

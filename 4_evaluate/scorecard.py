"""Every quality figure, measured, in tables and a chart.

Reads    4_evaluate/cases/ (ours), ../shared/data (other people's sets, where they are), the search index
Writes   the chart named by --chart; prints Markdown
Run      python 4_evaluate/scorecard.py        (or: make scorecard)
"""

import argparse
import json
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure
from tqdm import tqdm

from case_sets import (
    PUBLISHED,
    SHARED,
    Case,
    Outcome,
    findings,
    first_runs,
    our_sets,
    outcomes,
    published_set,
    read_as,
    triaged,
)
from clinical_data import load_lexicon, load_rules
from entities import NEW_CONVERSATION, Entity, extract
from pipeline import Turn, turn
from rewrites import PEOPLE, REWRITES
from settings import ROOT
from triage import Triage, assess

Sets = Sequence[tuple[str, list[Outcome]]]
_NOW = ("present", "uncertain")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables, draw the chart, and name the cases marked `must` that are missed."""
    parser = argparse.ArgumentParser(description="Measure quality and print it as Markdown tables.")
    parser.add_argument("--errors", action="store_true", help="list every case that got another level than it should")
    parser.add_argument("--triage-only", action="store_true", help="leave out the answers to K-QA's questions")
    parser.add_argument("--chart", type=Path, metavar="PNG", default=ROOT / "4_evaluate" / "scorecard.png", help="where to draw the chart (default: %(default)s)")  # fmt: skip
    args = parser.parse_args(argv)
    sets = list(_measured())
    _draw(sets, args.chart)
    print(_triage_table(sets))
    print(_context_table())
    emergencies = [o for _, of_set in sets for o in of_set if o.case.level == "HIGH" == o.triage.level]
    print(_rewrite_table([o.case for o in emergencies], [o.case for _, of_set in sets for o in of_set]))
    print(_follow_up_line(emergencies))
    print(_speed_table([o.case.text for _, of_set in sets for o in of_set]))
    if not args.triage_only:
        print(_answer_table())
    for o in (o for _, of_set in sets for o in of_set if o.case.must and o.step):
        print(f"MUST missed: {o.case.id}: {o.triage.level}: {o.case.text[:120]}", file=sys.stderr)
    if args.errors:
        for name, of_set in sets:
            for o in of_set:
                if o.step:
                    rules = ", ".join(r.rule for r in o.triage.reasons)
                    print(f"- {name} {o.case.id}: {o.triage.level} ({rules}), should be {o.case.level}: {o.case.text[:300]!r}")  # fmt: skip
    return 0


def _measured() -> Iterator[tuple[str, list[Outcome]]]:
    for name, cases in our_sets():
        yield f"ours: {name}", outcomes(cases)
    published = published_set()
    if published:
        yield PUBLISHED, outcomes(published)
    else:
        print(f"(other people's triage sets are not at {SHARED / 'triage'}: not measured)", file=sys.stderr)


# --- triage ---


def _triage_table(sets: Sets) -> str:
    lines = [
        "| triage on | messages (stories) | right | right at the first run | stories right, averaged | emergencies found | under-triaged | over-triaged | false HIGH |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    ours = [o for name, of_set in sets if name != PUBLISHED for o in of_set]
    firsts = first_runs()
    for name, of_set in (*sets, ("ours, all", ours)):
        stories: dict[str, list[bool]] = defaultdict(list)
        for o in of_set:
            stories[o.case.scenario].append(o.step == 0)
        high = [o for o in of_set if o.case.level == "HIGH"]
        rest = [o for o in of_set if o.case.level != "HIGH"]
        first = f"{firsts[name]['right']:.0%}, {firsts[name]['emergencies']} emergencies" if name in firsts else ""
        lines.append(
            f"| {name} | {len(of_set)} ({len(stories)}) | {_share([o.step == 0 for o in of_set])} | {first} | {statistics.mean(statistics.mean(s) for s in stories.values()):.0%} "
            f"| {sum(o.triage.level == 'HIGH' for o in high)} of {len(high)} | {_share([o.step < 0 for o in of_set])} | {_share([o.step > 0 for o in of_set])} "
            f"| {_share([o.triage.level == 'HIGH' for o in rest])} |"
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


def _draw(sets: Sets, path: Path) -> None:
    """A bar a set: how its messages were triaged."""
    figure = Figure(figsize=(8, 0.6 * len(sets) + 1.4), layout="constrained")
    axes = figure.subplots()
    names = [name for name, _ in sets]
    left = [0.0] * len(sets)
    kinds: tuple[tuple[str, str, Callable[[int], bool]], ...] = (("too low", "#b3261e", lambda s: s < 0), ("right", "#2e7d32", lambda s: s == 0), ("too high", "#f9a825", lambda s: s > 0))  # fmt: skip
    for label, colour, is_kind in kinds:
        shares = [100 * sum(is_kind(o.step) for o in of_set) / len(of_set) for _, of_set in sets]
        bars = axes.barh(names, shares, left=left, label=label, color=colour)
        axes.bar_label(bars, [f"{s:.0f}" if s >= 3 else "" for s in shares], label_type="center", color="white" if label != "too high" else "black")  # fmt: skip
        left = [a + b for a, b in zip(left, shares, strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel("share of messages, %")
    axes.set_xlim(0, 100)
    axes.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.18), frameon=False)
    figure.savefig(path, dpi=110)


# --- negation and context ---


def _context_table() -> str:
    """How often a finding's status and person are read right."""
    pairs = [(f, read_as(f)) for f in findings()]
    read = [(f, e) for f, e in pairs if e]
    lines = [
        f"Negation and context, {len(pairs)} findings in our sentences ({len(pairs) - len(read)} not read at all):",
        "",
        "| what | figure |",
        "|---|---|",
        f"| status right | {_share([e.status == f.status for f, e in read])} |",
        f"| person right | {_share([e.subject == f.subject for f, e in read])} |",
    ]
    for status in ("present", "absent", "past", "hypothetical", "uncertain"):
        lines.append(f"| F1, {status} | {_f1([(f.status == status, e.status == status) for f, e in read]):.2f} |")
    counts = [(f.status in _NOW and f.subject in ("writer", "other"), e.status in _NOW and e.subject in ("writer", "other")) for f, e in read]  # fmt: skip
    lines.append(f"| F1, counts now for somebody or not | {_f1(counts):.2f} |")
    return "\n".join(lines) + "\n"


def _f1(pairs: Sequence[tuple[bool, bool]]) -> float:
    """F1 of (should be, was)."""
    n = Counter(pairs)
    return 2 * n[True, True] / max(1, 2 * n[True, True] + n[True, False] + n[False, True])


# --- the same thing in other words ---


def _rewrite_table(emergencies: Sequence[Case], everyone: Sequence[Case]) -> str:
    lines = ["| emergencies found, rewritten | level fell |", "|---|---|"]
    for name, rewrite in tqdm(REWRITES.items(), desc="rewrites", leave=False, disable=None):
        fell = [triaged(rewrite(case.text)).level != "HIGH" for case in emergencies]
        lines.append(f"| {name} | {sum(fell)} of {len(fell)} |")
    lines += ["", "| every message, with who the person is | level changed |", "|---|---|"]
    before = {case.text: triaged(case.text).level for case in everyone}
    for name, rewrite in tqdm(PEOPLE.items(), desc="people", leave=False, disable=None):
        changed = [triaged(rewrite(text)).level != level for text, level in before.items()]
        lines.append(f"| {name} | {sum(changed)} of {len(changed)} |")
    return "\n".join(lines) + "\n"


# --- follow-up questions ---


def _follow_up_line(emergencies: Sequence[Outcome]) -> str:
    """An emergency with one deciding fact left out: does a question ask for it, and does "yes" bring the level back?"""
    results = [r for o in emergencies for r in _without_each_fact(o)]
    return f"Follow-up questions: with one deciding fact left out of an emergency so that its level falls ({len(results)} times), a question whose yes brings HIGH back is asked {_share(results)}.\n"


def _without_each_fact(outcome: Outcome) -> Iterator[bool]:
    text = outcome.case.text
    entities = extract(text)
    rules = {rule.id: rule for rule in load_rules()}
    left_out: set[frozenset[str]] = set()
    for reason in outcome.triage.reasons:
        rule = rules.get(reason.rule)
        if not rule or reason.level != "HIGH" or not rule.any_of or not rule.ask:
            continue
        wanted = frozenset(concept for alternative in rule.any_of for concept in alternative)
        kept = [e for e in entities if not wanted & load_lexicon().lineage(e.concept or "")]
        said = frozenset(e.text for e in entities if e not in kept)
        if said in left_out or not kept:
            continue
        left_out.add(said)
        triage = assess(text, kept)
        if triage.level != "HIGH":
            yield any(_yes(text, kept, q.id).level == "HIGH" for q in triage.follow_up)


def _yes(text: str, entities: Sequence[Entity], question: str) -> Triage:
    return assess(text, entities, replace(NEW_CONVERSATION, answers=((question, "yes"),)))


# --- speed ---


def _speed_table(texts: Sequence[str]) -> str:
    """Milliseconds of reading and triage together, and whether they grow with length in a straight line."""
    triaged(texts[0])
    milliseconds = sorted(_timed(text) for text in texts)
    sample = " ".join(texts)[:60_000]
    lines = [
        "| reading and triage of one message | figure |",
        "|---|---|",
        f"| median | {milliseconds[len(milliseconds) // 2]:.1f} ms |",
        f"| 95th percentile | {milliseconds[int(len(milliseconds) * 0.95)]:.1f} ms |",
        f"| a text of 10,000 words, of the time of ten of 1,000 | {_growth(sample.split()):.2f} |",
    ]
    return "\n".join(lines) + "\n"


def _growth(words: list[str]) -> float:
    many = (words * (10_000 // len(words) + 1))[:10_000]
    pieces = [" ".join(many[i : i + 1000]) for i in range(0, 10_000, 1000)]
    return min(_timed(" ".join(many)) for _ in range(3)) / min(sum(map(_timed, pieces)) for _ in range(3))


def _timed(text: str) -> float:
    started = time.perf_counter()
    triaged(text)
    return (time.perf_counter() - started) * 1000


# --- answers ---


def _answer_table() -> str:
    """Every question of K-QA answered or abstained, and milliseconds a stage."""
    path = SHARED / "kqa" / "questions.jsonl"
    if not path.is_file():
        return f"(K-QA is not at {path}: answers not measured)\n"
    questions = [json.loads(line)["Question"] for line in path.read_text("utf-8").splitlines()]
    _last(questions[0])  # models load
    started = time.perf_counter()
    items = [_last(q) for q in tqdm(questions, desc="K-QA", leave=False, disable=None)]
    finishes = Counter(str(item.answer.finish if item.answer else None) for item in items)
    foreign = sum(item.triage.kind == "other_language" for item in items)
    stages = {stage: sorted(i.timings[stage] for i in items if stage in i.timings) for stage in items[0].timings}
    lines = [
        f"{len(items)} K-QA questions in {time.perf_counter() - started:.0f} s: "
        + ", ".join(f"{n} {f}" for f, n in sorted(finishes.items()))
        + f"; {foreign} taken for another language",
        "",
        "| stage | p50 ms | p95 ms |",
        "|---|---|---|",
    ]
    lines += [f"| {stage} | {ms[len(ms) // 2]:.1f} | {ms[int(len(ms) * 0.95)]:.1f} |" for stage, ms in stages.items()]
    return "\n".join(lines) + "\n"


def _last(text: str) -> Turn:
    *_, item = (i for i in turn(text) if isinstance(i, Turn))
    return item


if __name__ == "__main__":
    sys.exit(main())

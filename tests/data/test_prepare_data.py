import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

import prepare_data
from prepare_data import clean
from prompts import SYSTEM
from screen import violations
from settings import ROOT

REAL = ROOT.parent / "shared" / "data" / "chatdoctor5k.json"
QUESTION = "I have had an itchy rash on both arms since last week."
ANSWER = "This may be eczema, which dries the skin. A plain moisturiser often helps, and a pharmacist can look at it."


def pair(question: str = QUESTION, answer: str = ANSWER) -> dict[str, Any]:
    return {"instruction": "Answer as a doctor.", "input": question, "output": answer}


def made_set(count: int = 40) -> list[dict[str, Any]]:
    """Clean rows that share few words."""
    return [
        pair(
            f"For days I have {' '.join(f'sign{n}x{k}' for k in range(9))} in my bags.",
            f"This can come from {' '.join(f'cause{n}x{k}' for k in range(9))}, so ask a nurse.",
        )
        for n in range(count)
    ]


def write_json(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text(json.dumps(list(rows)), encoding="utf-8")
    return path


def run(source: Path, out: Path, *options: str) -> dict[str, Any]:
    """Run the step as a user would; returns its report."""
    assert prepare_data.main(["--source", str(source), "--out", str(out), *options]) == 0
    report: dict[str, Any] = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return report


def read(out: Path, split: str) -> list[dict[str, str]]:
    """The rows of a split: role -> content."""
    lines = (out / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [{message["role"]: message["content"] for message in json.loads(line)["messages"]} for line in lines]


def everything(out: Path) -> list[dict[str, str]]:
    return [row for split in prepare_data.SPLITS for row in read(out, split)]


# -- Cleaning one row


@pytest.mark.parametrize(
    ("rule", "row"),
    [
        (None, pair()),
        (
            None,
            pair(answer="Your result of 120 mg/dL is on the high side, so it may help to see your doctor."),
        ),
        ("empty", pair("", ANSWER)),
        ("empty", pair(QUESTION, "   ")),
        ("empty", {"input": None, "output": ANSWER}),
        ("empty", pair(answer="Hello, welcome to Chat Doctor. Thank you for your question. Regards, Dr. Smith")),
        ("short", pair("My arm itches.")),
        ("short", pair(answer="It may be eczema.")),
        ("damaged", pair(answer=ANSWER.replace("eczema", "ecz\ufffdma"))),
        ("damaged", pair(answer="It?? possible that this is eczema, which is a dryness of the skin.")),
        ("damaged", pair(QUESTION + " Please generate a dialogue between a doctor and a patient.")),
        ("truncated", pair(answer=ANSWER + " You could also try to")),
        ("personal", pair(QUESTION + " Write to me at jane.doe@example.org please.")),
        ("personal", pair(QUESTION + " Call me on +44 20 7946 0958 please.")),
        ("personal", pair(QUESTION + " My name is Jane, by the way.")),
        ("personal", pair(answer=ANSWER + " Ask for Dr. Smith there.")),
        ("dose", pair(answer="Take 500 mg of paracetamol when it is at its worst, and rest your arms.")),
        (
            "diagnosis",
            pair(answer="It seems like you have eczema. It dries the skin, and a moisturiser helps with that."),
        ),
        ("reassurance", pair(answer="Don't worry, it is only a rash, and a moisturiser will help you with that.")),
    ],
)
def test_each_rule(rule: str | None, row: dict[str, Any]) -> None:
    assert clean(row).dropped_by == rule


@pytest.mark.parametrize(
    ("given", "expected", "edit"),
    [
        ("Hello, welcome to Chat Doctor. " + ANSWER, ANSWER, "brand"),
        ("Hi there, " + ANSWER, ANSWER, "greeting"),
        ("Hello! Thank you for your query. I have gone through your question carefully. " + ANSWER, ANSWER, "greeting"),
        (ANSWER + " Hope this helps. Take care. Best regards, Dr. Smith", ANSWER, "greeting"),
        (ANSWER + " Thanks for using HCM. Feel free to ask again.", ANSWER, "brand"),
        (ANSWER + "Patient: Thank you. And then?", ANSWER, "run-on"),
        (ANSWER + " (End of conversation)", ANSWER, "run-on"),
        (ANSWER + "(patient and doctor continue the conversation", ANSWER, "run-on"),
        ("<p>" + ANSWER.replace(" and", " &amp;").replace("&amp;", "and") + "</p>", ANSWER, "mended"),
        (ANSWER.replace("which dries", "itâ€™s dry"), ANSWER.replace("which dries", "it’s dry"), "mended"),
        (ANSWER.replace("This may", "Sjögren's may"), ANSWER.replace("This may", "Sjögren's may"), None),
        (ANSWER.replace("skin. A", "skin.A"), ANSWER, "mended"),
    ],
)
def test_each_edit(given: str, expected: str, edit: str | None) -> None:
    cleaned = clean(pair(answer=given))
    assert cleaned.answer == expected
    assert cleaned.edits == (frozenset() if edit is None else cleaned.edits | {edit})


def test_the_doctor_is_not_addressed_in_what_the_model_learns() -> None:
    for greeting in ("Doctor, ", "Hi doctor, ", "Hello Doctor. ", "Hi, ", "Good morning doctor, "):
        assert clean(pair(greeting + QUESTION)).question == QUESTION


# -- The whole step, on a made set


def test_output_is_chat_format_with_the_prompt_that_answers_use(tmp_path: Path) -> None:
    run(write_json(tmp_path / "rows.json", made_set()), tmp_path / "out")
    rows = everything(tmp_path / "out")
    assert len(rows) == 40
    assert all(list(row) == ["system", "user", "assistant"] for row in rows)
    assert {row["system"] for row in rows} == {SYSTEM}
    assert {(row["user"], row["assistant"]) for row in rows} == {(row["input"], row["output"]) for row in made_set()}
    assert [len(read(tmp_path / "out", split)) for split in prepare_data.SPLITS] == [32, 4, 4]


def test_duplicates_go_and_are_counted(tmp_path: Path) -> None:
    first = made_set()[0]
    rows = [
        *made_set(),
        pair(first["input"].upper(), first["output"] + " "),  # the same but for case and spacing
        pair(first["input"].replace("bags", "boxes"), first["output"].replace("ask", "see")),  # one word of each
    ]
    report = run(write_json(tmp_path / "rows.json", rows), tmp_path / "out")
    assert (report["dropped"]["duplicate"], report["dropped"]["near duplicate"]) == (1, 1)
    assert report["rows"] == {"read": 42, "kept": 40, "written": 40}


def test_like_questions_never_cross_splits(tmp_path: Path) -> None:
    # Forty questions, each asked twice with one word changed and another answer; and one answer given to two questions.
    rows = made_set()
    rows += [
        pair(row["input"] + " Why?", other["output"] + " Rest.")
        for row, other in zip(rows, made_set(80)[40:], strict=True)
    ]
    rows[0]["output"] = rows[1]["output"]
    out = tmp_path / "out"
    report = run(write_json(tmp_path / "rows.json", rows), out)
    assert report["rows"]["written"] == 80
    where: dict[str, set[str]] = {}
    for split in prepare_data.SPLITS:
        for found in read(out, split):
            where.setdefault(found["user"].removesuffix(" Why?"), set()).add(split)
            where.setdefault(found["assistant"], set()).add(split)
    assert all(len(splits) == 1 for splits in where.values())
    assert all(read(out, split) for split in prepare_data.SPLITS)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    source = write_json(tmp_path / "rows.json", made_set())
    outs = [tmp_path / name for name in ("one", "two", "other")]
    for out, seed in zip(outs, ("1", "1", "2"), strict=True):
        run(source, out, "--seed", seed)
    one, two, other = ({path.name: path.read_bytes() for path in out.iterdir()} for out in outs)
    assert one == two
    assert sorted(one) == [
        "report.json",
        "report.md",
        "test.jsonl",
        "train.jsonl",
        "valid.jsonl",
    ]  # and nothing temporary
    assert one["train.jsonl"] != other["train.jsonl"]


def test_samples_limits_the_rows_and_says_so(tmp_path: Path) -> None:
    report = run(write_json(tmp_path / "rows.json", made_set()), tmp_path / "out", "--samples", "10")
    assert len(everything(tmp_path / "out")) == 10
    assert report["rows"]["written"] == 10
    assert "30 clean rows were left out by the sample size" in (tmp_path / "out" / "report.md").read_text()


def test_keep_all_drops_only_empty_rows_and_still_counts(tmp_path: Path) -> None:
    rows = [*made_set(), made_set()[0], pair(answer="Short."), pair(QUESTION, "")]
    report = run(write_json(tmp_path / "rows.json", rows), tmp_path / "out", "--keep-all")
    assert report["rows"] == {"read": 43, "kept": 42, "written": 42}
    assert {rule: n for rule, n in report["dropped"].items() if n} == {"empty": 1, "short": 1, "duplicate": 1}
    assert "Filters off" in (tmp_path / "out" / "report.md").read_text()


def test_every_row_is_accounted_for(tmp_path: Path) -> None:
    rows = [
        *made_set(),
        pair(answer="Short."),
        pair(QUESTION, ""),
        pair(answer="Take 500 mg of it when it hurts the most."),
    ]
    report = run(write_json(tmp_path / "rows.json", rows), tmp_path / "out")
    assert report["rows"]["read"] == report["rows"]["kept"] + sum(report["dropped"].values())
    assert sum(split["rows"] for split in report["splits"].values()) == report["rows"]["written"]
    text = (tmp_path / "out" / "report.md").read_text()
    assert "| dose | 1 | 2.3% |" in text
    assert "Take 500 mg" in text  # an example


def test_a_run_that_is_cut_short_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_json(tmp_path / "rows.json", made_set())
    out = tmp_path / "out"
    run(source, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(prepare_data, "markdown", lambda facts: map(stop, [1]))
    assert prepare_data.main(["--source", str(source), "--out", str(out), "--seed", "9"]) == 130
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


# -- Sources


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet", "folder"])
def test_every_format_gives_the_same_rows(kind: str, tmp_path: Path) -> None:
    rows = made_set()
    source = tmp_path / f"rows.{kind}"
    if kind == "jsonl":
        source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif kind == "csv":
        with source.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    elif kind == "parquet":
        Dataset.from_list(rows).to_parquet(source)
    else:
        source.mkdir()
        write_json(source / "a.json", rows[:20])
        write_json(source / "b.json", rows[20:])
        (source / "README.txt").write_text("not data")
    run(source, tmp_path / "out")
    run(write_json(tmp_path / "same.json", rows), tmp_path / "expected")
    assert everything(tmp_path / "out") == everything(tmp_path / "expected")


def one_line_error(source: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert prepare_data.main(["--source", str(source), "--out", str(out)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("prepare_data: ")
    assert not out.exists()
    return error


def test_missing_columns_are_named_with_those_that_are_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_json(tmp_path / "rows.json", [{"input": QUESTION, "answer": ANSWER}])
    error = one_line_error(source, tmp_path / "out", capsys)
    assert "rows.json has no column output; it has: input, answer" in error


def test_unreadable_sources_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert "does not exist" in one_line_error(tmp_path / "nowhere.json", out, capsys)
    (tmp_path / "broken.json").write_text('[{"input": "a", ')
    assert "cannot read" in one_line_error(tmp_path / "broken.json", out, capsys)
    (tmp_path / "empty").mkdir()
    assert "has no .json" in one_line_error(tmp_path / "empty", out, capsys)
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    write_json(mixed / "a.json", made_set())
    (mixed / "b.csv").write_text("input,output\n")
    assert "holds csv and json files" in one_line_error(mixed, out, capsys)
    few = write_json(tmp_path / "few.json", made_set(2))
    assert "too few" in one_line_error(few, out, capsys)
    useless = write_json(tmp_path / "useless.json", [pair("", "")])
    assert "--keep-all" in one_line_error(useless, out, capsys)


def test_a_hub_outage_says_how_to_go_on(tmp_path: Path) -> None:
    # Port 9 of this machine refuses; HF_ENDPOINT is read when huggingface_hub is imported, so in a process of its own.
    environment = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    command = [sys.executable, str(ROOT / "1_data" / "prepare_data.py"), "--out", str(tmp_path / "out")]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "cannot read avaliev/chat_doctor" in result.stderr
    assert "--source FILE_OR_FOLDER" in result.stderr


# -- The real file


@pytest.mark.skipif(not REAL.exists(), reason=f"{REAL} is not here")
def test_the_real_file(tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = run(REAL, out)
    assert report["rows"]["read"] == 5452
    assert report["rows"]["kept"] > 4000
    assert report["dropped"]["diagnosis"] > 300
    rows = everything(out)
    answers = [row["assistant"] for row in rows]
    assert not [found for answer in answers for found in map(violations, prepare_data.sentences(answer)) if found]
    assert not [
        answer for answer in answers if re.search(r"Patient:|end of conversation|â€|\ufffd|<[a-z]+>", answer, re.I)
    ]
    assert not [row["user"] for row in rows if re.match(r"(hi|hello|doctor)\b[ ,]", row["user"], re.I)]
    questions = [{" ".join(row["user"].lower().split()) for row in read(out, split)} for split in prepare_data.SPLITS]
    assert not (questions[0] & questions[1] or questions[0] & questions[2] or questions[1] & questions[2])

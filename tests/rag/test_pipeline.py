"""The chain as a module and as a command: DESIGN.md's flow, its JSON, and what is stored when."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import db
import pipeline
from entities import NEW_CONVERSATION, Conversation
from pipeline import Turn, continued, conversation_of, recorded, turn
from settings import ROOT


def last(text: str, conversation: Conversation = NEW_CONVERSATION) -> Turn:
    *_, item = (i for i in turn(text, conversation) if isinstance(i, Turn))
    return item


@pytest.fixture
def database(tmp_path: Path) -> db.Database:
    return db.Database(f"sqlite:///{tmp_path / 'log.db'}")


def test_triage_comes_first_and_the_answer_is_cited(shipped_index: Path) -> None:
    items = list(turn("I have had a sore throat and a runny nose for two days"))
    assert isinstance(items[0], Turn)
    assert items[0].passages == ()
    final = items[-1]
    assert isinstance(final, Turn)
    assert final.answer is not None
    assert final.answer.finish == "complete"
    numbers = {c.n for c in final.answer.citations}
    for sentence in final.answer.text.split("\n"):
        assert sentence.endswith("]"), sentence
        assert int(sentence.rsplit("[", 1)[1][:-1]) in numbers
    assert len(final.answer.text.split()) < 200
    assert [i for i in items if isinstance(i, str)] == final.answer.text.split("\n")


def test_every_quoted_sentence_stands_in_the_passage_that_it_cites(shipped_index: Path) -> None:
    final = last("My lower back hurts after lifting boxes")
    assert final.answer is not None
    for sentence in final.answer.text.split("\n"):
        text, number = sentence.rsplit(" [", 1)
        citation = next(c for c in final.answer.citations if c.n == int(number[:-1]))
        if citation.passage is None:
            assert text in {r.do for r in final.triage.reasons}
        else:
            assert text in final.passages[citation.passage - 1].text.splitlines()


def test_the_emergency_advice_leads_the_answer(shipped_index: Path) -> None:
    final = last("crushing chest pain going down my left arm")
    assert (final.triage.level, final.triage.emergency) == ("HIGH", True)
    assert final.answer is not None
    assert final.answer.text.startswith(final.triage.reasons[0].do)


def test_nothing_found_is_said_and_the_triage_stands(shipped_index: Path) -> None:
    final = last("My zorbitis and quandle feel strange when the vexalgia hums")
    assert final.answer is not None
    assert final.answer.finish == "abstained"
    assert "no reference" in final.answer.text
    assert final.passages == ()


def test_a_follow_up_is_read_in_its_conversation(shipped_index: Path) -> None:
    first = last("My little girl has chickenpox")
    second = last("how long is it catching?", continued(NEW_CONVERSATION, first))
    assert "chickenpox" in {p.source.removesuffix(".md") for p in second.passages}


def test_a_typed_message_never_lowers_the_level(shipped_index: Path) -> None:
    conversation = continued(NEW_CONVERSATION, last("crushing chest pain and sweating"))
    for text in ("ignore that", "I feel fine now, it was nothing", "no chest pain any more", "what is hay fever?"):
        item = last(text, conversation)
        assert item.triage.level == "HIGH", text
        conversation = continued(conversation, item)


def test_yes_answers_the_open_question() -> None:
    first = last("my bp is 190/120")
    assert first.triage.follow_up
    conversation = continued(NEW_CONVERSATION, first)
    assert last("yes", conversation).triage.level == "HIGH"
    assert last("yes", conversation).answers == ((first.triage.follow_up[0].id, "yes"),)
    assert last("no", conversation).triage.level == first.triage.level
    assert last("no", conversation).triage.follow_up == ()


def test_message_and_triage_are_stored_before_anything_is_said(database: db.Database, shipped_index: Path) -> None:
    token = database.open_session()
    steps = recorded(database, token, "crushing chest pain and sweating", NEW_CONVERSATION)
    next(steps)
    (stored,) = database.turns(token)
    assert (stored.start.level, stored.end) == ("HIGH", None)
    steps.close()
    (stored,) = database.turns(token)
    assert stored.end is not None
    assert stored.end.finish == "interrupted"


def test_a_whole_turn_is_stored_and_makes_the_next_conversation(database: db.Database, shipped_index: Path) -> None:
    token = database.open_session()
    items = list(recorded(database, token, "I have a sore throat \ud800 and a fever", NEW_CONVERSATION))
    (stored,) = database.turns(token)
    final = items[-1]
    assert isinstance(final, Turn)
    assert final.answer is not None
    assert stored.end is not None
    assert stored.end.answer == final.answer.text
    assert {m.part for m in stored.end.models} == {"embedder", "reranker", "entity model", "generator"}
    assert {"entities", "triage", "retrieve", "rerank", "generate"} == dict(stored.end.timings).keys()
    conversation = conversation_of([stored])
    assert conversation.level == final.triage.level
    assert conversation.replies == (final.answer.text,)
    assert [e.concept for e in conversation.entities[0]] == [e.concept for e in final.entities]


def test_a_log_that_fails_never_hides_the_triage(database: db.Database, shipped_index: Path) -> None:
    items = [
        i
        for i in recorded(database, "no such session", "crushing chest pain and sweating", NEW_CONVERSATION)
        if isinstance(i, Turn)
    ]
    assert items[0].triage.level == "HIGH"
    assert items[-1].answer is not None
    assert any(c.part == "log" and c.degraded for c in items[-1].models)


# --- the command ---


def command(*args: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "3_rag" / "pipeline.py"), *args],
        capture_output=True,
        text=True,
        input=stdin,
        timeout=240,
        env=dict(os.environ),
        cwd="/",
    )


def batch(lines: list[str], *args: str) -> list[dict[str, Any]]:
    done = command("--batch", "-", "--no-log", *args, stdin="\n".join(lines) + "\n")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_batch_keeps_order_and_goes_on_past_bad_lines(shipped_index: Path) -> None:
    lines = [
        '{"id": 1, "text": "sore throat"}',
        "not json",
        '{"id": 3}',
        '["x"]',
        '{"id": 5, "text": "\\ud800"}',
        '{"id": 6, "text": "and sweating", "history": ["my chest feels tight"]}',
        '{"id": 7, "text": "x", "history": 3}',
    ]
    out = batch(lines, "--until", "passages", "--top-k", "5")
    assert [o["id"] for o in out] == [1, None, 3, None, 5, 6, 7]
    assert ["error" in o for o in out] == [False, True, True, True, False, False, True]
    assert len(out[0]["passages"]) == 5
    assert out[0]["answer"] is None
    assert out[5]["triage"]["level"] == "HIGH"
    assert set(out[0]) == {"id", "triage", "entities", "passages", "answer", "citations", "finish", "degraded"}


def test_until_triage_loads_no_search_model() -> None:
    out = batch(['{"id": 1, "text": "no chest pain, just a mild cough"}'], "--until", "triage")
    assert out[0]["passages"] == []
    assert out[0]["finish"] is None
    assert {e["status"] for e in out[0]["entities"]} == {"absent", "present"}


def test_readable_answer_names_urgency_and_sources(shipped_index: Path) -> None:
    done = command("--no-log", "runny nose since yesterday")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Urgency: LOW")
    assert "[1]" in done.stdout
    assert "https://" in done.stdout


@pytest.mark.parametrize("args", [[], ["--batch", "/no/such/file"], ["--top-k", "0", "x"], ["a", "--batch", "-"]])
def test_wrong_use_is_told_without_a_traceback(args: list[str]) -> None:
    done = command("--no-log", *args)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()


def test_the_promised_command_line_holds() -> None:
    check = ROOT.parent / "shared" / "check_cli.py"
    if not check.exists():
        pytest.skip(f"{check} is not there: the command line is held by the other tests here alone")
    done = subprocess.run(
        [sys.executable, str(check)], capture_output=True, text=True, cwd=ROOT, timeout=280, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stdout


def test_help_shows_an_example() -> None:
    assert '"id"' in command("--help").stdout
    assert pipeline.MAX_CHARACTERS > 1000

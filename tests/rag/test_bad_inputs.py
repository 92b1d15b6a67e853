"""The shape and Unicode groups of BAD_INPUTS.md, and more of the same kind: nothing breaks, and no red flag is lost."""

import time

import pytest

from entities import NEW_CONVERSATION, Conversation
from generate import Answer
from pipeline import MAX_CHARACTERS, Turn, continued, turn


def triaged(text: str, conversation: Conversation = NEW_CONVERSATION) -> Turn:
    *_, item = (i for i in turn(text, conversation, until="triage") if isinstance(i, Turn))
    return item


@pytest.mark.parametrize(
    "text", ["", "   ", "\n\t", "?!...", "a", "\u202e", "\U0001f494\U0001f62d", "\u200b", "\0", "\ud800", "1"]
)
def test_nothing_said_is_asked_about_without_a_model(text: str) -> None:
    *_, item = turn(text)
    assert isinstance(item, Turn)
    assert (item.triage.level, item.triage.kind) == ("LOW", "unclear")
    assert isinstance(item.answer, Answer)
    assert item.answer.finish == "asked"
    assert not item.answer.citations


def test_a_megabyte_is_refused_at_once() -> None:
    triaged("warm up")
    started = time.perf_counter()
    item = triaged("word " * 200_000)
    assert time.perf_counter() - started < 1
    assert item.answer is not None
    assert item.answer.finish == "refused"


def test_one_character_over_the_limit_is_refused_and_the_limit_is_not() -> None:
    assert triaged("a" * MAX_CHARACTERS).answer is None
    refused = triaged("a" * (MAX_CHARACTERS + 1)).answer
    assert refused is not None
    assert refused.finish == "refused"


def test_a_red_flag_at_the_end_of_an_overlong_paste_is_seen() -> None:
    item = triaged("blah blah. " * 20_000 + "I have crushing chest pain and can't breathe")
    assert item.answer is not None
    assert item.answer.finish == "refused"
    assert item.triage.level == "HIGH"


def test_one_word_very_often() -> None:
    assert triaged("pain " * 3000).triage.level in ("MEDIUM", "HIGH")


def test_two_hundred_turns_keep_an_early_high() -> None:
    conversation = continued(NEW_CONVERSATION, triaged("crushing chest pain and sweating"))
    for number in range(200):
        conversation = continued(conversation, triaged(f"thanks, message {number}", conversation))
    assert triaged("ok", conversation).triage.level == "HIGH"
    assert len(conversation.messages) == 201


@pytest.mark.parametrize(
    "text",
    [
        "chest\0pain, sweating",
        "crushing chest\u200b pain",
        "crushing \u0441hest pain",
        "ｃａｎ'ｔ　ｂｒｅａｔｈｅ",
        "\U0001f494 chest \U0001f62d can't breathe",
        "I can\u2019t breathe",
        "i\r\ncan't\rbreathe\u2028",
        "\u202eI can't breathe\u202c",
        "c\u0336a\u0336n\u0336t\u0336 breathe",
        "CAN'T BREATHE!!!",
        "cant breathe \ud83d",
        "I can`t breathe",
    ],
)
def test_dressed_up_red_flags_are_high(text: str) -> None:
    item = triaged(text)
    assert item.triage.level == "HIGH", item.triage
    assert item.triage.emergency

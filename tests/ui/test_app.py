"""The pages by AppTest: the chat's turn, what is kept, and failures that show a sentence."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import loading
from settings import ROOT

APP = str(ROOT / "6_ui" / "app.py")


@pytest.fixture(scope="module")
def ready(shipped_index: Path) -> Iterator[loading.Backend]:
    """The backend, loaded once by the code that loads it in the app."""
    backend = loading.backend()
    backend.start()
    assert backend.ready.wait(120)
    assert backend.problem is None
    yield backend


@pytest.fixture
def app(ready: loading.Backend) -> AppTest:
    return AppTest.from_file(APP, default_timeout=60).run()


def shown(app: AppTest) -> str:
    return "\n".join(
        str(e.value)
        for kind in (app.markdown, app.error, app.warning, app.success, app.info, app.caption)
        for e in kind
    )


def ask(app: AppTest, text: str) -> AppTest:
    return app.chat_input[0].set_value(text).run()


def test_the_page_says_what_it_is_not(app: AppTest) -> None:
    assert not app.exception
    assert "not a diagnosis" in shown(app)


def test_a_turn_shows_urgency_answer_and_sources(app: AppTest) -> None:
    ask(app, "crushing chest pain going down my left arm")
    assert not app.exception
    assert "HIGH: get emergency care now" in app.error[0].value
    assert "crushing" in app.error[0].value
    assert ":blue-background[1]" in shown(app)
    assert "Embedder" in shown(app)


def test_a_reload_finds_the_conversation_by_its_token(app: AppTest) -> None:
    ask(app, "I have a sore throat and a runny nose")
    token = app.query_params["session"]
    again = AppTest.from_file(APP, default_timeout=60)
    again.query_params["session"] = token
    again.run()
    assert "I have a sore throat and a runny nose" in shown(again)
    stranger = AppTest.from_file(APP, default_timeout=60)
    stranger.query_params["session"] = ["1"]
    stranger.run()
    assert "sore throat and a runny nose" not in "\n".join(m.value for m in stranger.markdown)


def test_the_next_message_is_understood_in_its_conversation(app: AppTest) -> None:
    ask(app, "my chest feels tight")
    ask(app, "and now I am sweating too")
    assert "HIGH" in app.error[-1].value


def test_two_tabs_are_apart(app: AppTest, ready: loading.Backend) -> None:
    ask(app, "crushing chest pain and sweating")
    other = ask(AppTest.from_file(APP, default_timeout=60).run(), "runny nose since yesterday")
    assert not other.error
    assert app.query_params["session"] != other.query_params["session"]


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script> sore throat",
        "<img src=x onerror=alert(1)>",
        "![x](http://evil/?q=)",
        "[x](javascript:alert(1))",
        "'; DROP TABLE sessions;--",
        "{{7*7}} {} $x^2$ :red[hi]",
    ],
)
def test_what_a_person_types_is_only_text(app: AppTest, text: str) -> None:
    ask(app, text)
    assert not app.exception
    user = app.chat_message[0].markdown[0].value
    assert user != text
    assert user.replace("\\", "") == text


def test_new_concern_starts_again(app: AppTest) -> None:
    ask(app, "crushing chest pain and sweating")
    next(b for b in app.button if "New concern" in b.label).click().run()
    assert not app.error
    assert "session" not in app.query_params
    ask(app, "runny nose since yesterday")
    assert app.success


def test_a_follow_up_question_is_answered_by_a_tap(app: AppTest) -> None:
    ask(app, "my bp is 190/120")
    assert "To be sure" in shown(app)
    next(b for b in app.button if b.label == "Yes").click().run()
    assert any("HIGH" in e.value for e in app.error)


def test_a_failing_part_shows_a_sentence_and_keeps_the_urgency(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    import pipeline

    def broken(*_: object, **__: object) -> Iterator[str]:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(pipeline, "answer", broken)
    ask(app, "crushing chest pain and sweating")
    assert not app.exception
    text = shown(app)
    assert "Something went wrong" in text
    assert "HIGH: get emergency care now" in text
    assert "secret detail" not in text


def test_a_log_that_fails_is_said(app: AppTest, ready: loading.Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    import db

    def full(*_: object) -> int:
        raise db.DatabaseError("The log could not be used (disk full).")

    monkeypatch.setattr(db.Database, "begin_turn", full)
    ask(app, "crushing chest pain and sweating")
    assert "HIGH: get emergency care now" in shown(app)
    assert "disk full" in shown(app)


def test_the_limits_page_says_that_no_clinician_reviewed_it(ready: loading.Backend) -> None:
    page = AppTest.from_file(str(ROOT / "6_ui" / "views" / "safety.py"), default_timeout=30).run()
    assert "No clinician has reviewed" in shown(page)


def test_a_corrected_fact_is_logged_and_lowers_the_urgency(app: AppTest, ready: loading.Backend) -> None:
    ask(app, "crushing chest pain going down my left arm")
    assert "HIGH" in app.error[0].value
    # Everything that was understood is taken back, one fact at a time.
    while [b for b in app.button if b.key == "fix-absent"]:
        next(b for b in app.button if b.key == "fix-absent").click().run()
        assert not app.exception
    assert "worked out again" in app.info[-1].value
    assert "HIGH" not in app.info[-1].value
    assert ready.database
    kept = ready.database.edits(app.query_params["session"])
    assert kept and kept[-1].level != "HIGH"
    # What is typed next starts from there, and a reload shows it again.
    ask(app, "anything else I should do?")
    assert app.session_state.turns[-1].start.level == kept[-1].level


def test_the_explain_page_shows_rules_and_near_misses(ready: loading.Backend) -> None:
    page = AppTest.from_file(str(ROOT / "6_ui" / "views" / "explain.py"), default_timeout=60).run()
    page.text_area[0].set_value("my chest feels tight when I walk uphill").run()
    page.button[0].click().run()
    assert not page.exception
    words = shown(page)
    assert "chest feels tight" in words and "Angina" in words
    assert "held back by" in words or "lacks" in words

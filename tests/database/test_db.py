"""The log: what is stored comes back, a turn without an end is told apart, and a session opens by its token alone."""

import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from db import (
    CitationRecord,
    Database,
    DatabaseError,
    EditRecord,
    EntityRecord,
    ModelRecord,
    PassageRecord,
    QuestionRecord,
    ReasonRecord,
    TurnEnd,
    TurnStart,
)

START = TurnStart(
    text="crushing chest pain",
    level="HIGH",
    emergency=True,
    kind="symptom",
    reasons=(
        ReasonRecord("r1", "HIGH", "medical", "why", "do", ("crushing", "chest pain"), "NHS", "https://www.nhs.uk/"),
    ),
    follow_up=(QuestionRecord("r2", "Does it spread?"),),
    entities=(
        EntityRecord("chest pain", "SYMPTOM", 9, 19, "present", "writer", "chest_pain", None, 0),
        EntityRecord("38", "VITAL", 0, 2, "present", "other", "temperature", 38.0, 1),
    ),
    models=(ModelRecord("embedder", "MiniLM", "because", True),),
    answers=(("r0", "yes"),),
)
END = TurnEnd(
    answer="Call an ambulance now. [1]",
    finish="complete",
    citations=(CitationRecord(1, "NHS", "https://www.nhs.uk/", 1),),
    passages=(PassageRecord(1, "Chest pain", "chest-pain.md", "https://www.nhs.uk/", "Signs", 0.7, "text"),),
    models=(ModelRecord("generator", "extractive", "none set", True),),
    timings=(("entities", 1.5),),
)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(f"sqlite:///{tmp_path / 'log.db'}")


def test_a_turn_comes_back_as_it_was(database: Database) -> None:
    token = database.open_session()
    number = database.begin_turn(token, START)
    (begun,) = database.turns(token)
    assert (begun.start, begun.end) == (START, None)
    database.finish_turn(number, END)
    (done,) = database.turns(token)
    assert done.end == END
    assert done.start.reasons == START.reasons
    assert done.at.tzinfo is not None


def test_all_tables_are_filled(database: Database) -> None:
    token = database.open_session()
    database.finish_turn(database.begin_turn(token, START), END)
    edit = EditRecord(1, 0, 0, 10, "chest_pain", "chest pain", "absent", "LOW", False)
    database.add_edit(token, edit)
    assert database.edits(token) == [edit]
    assert database.edits("another token") == []
    assert database.counts() == {
        "sessions": 1,
        "fact_edits": 1,
        "queries": 1,
        "triage_reasons": 1,
        "ner_entities": 2,
        "retrieved_docs": 1,
        "responses": 1,
    }


def test_a_session_opens_by_its_token_alone(database: Database) -> None:
    mine, yours = database.open_session(), database.open_session()
    database.begin_turn(mine, START)
    assert database.turns(yours) == []
    assert database.turns("1") == []
    assert len(mine) >= 32
    assert database.open_session(mine) == mine
    assert database.open_session("guessed") not in ("guessed", mine, yours)
    with pytest.raises(DatabaseError, match="start a new one"):
        database.begin_turn("guessed", START)


def test_sqlite_is_set_up_to_keep_health_data(tmp_path: Path, database: Database) -> None:
    assert stat.S_IMODE((tmp_path / "log.db").stat().st_mode) == 0o600
    with database._engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "foreign_keys", "secure_delete")
        }
    assert pragmas == {"journal_mode": "wal", "foreign_keys": 1, "secure_delete": 1}


def test_writers_wait_for_each_other(database: Database) -> None:
    token, faults = database.open_session(), []

    def write() -> None:
        try:
            for _ in range(20):
                database.finish_turn(database.begin_turn(token, START), END)
        except DatabaseError as error:
            faults.append(error)

    threads = [threading.Thread(target=write) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert faults == []
    assert len(database.turns(token)) == 160


def test_a_level_that_does_not_exist_is_refused(database: Database) -> None:
    token = database.open_session()
    with pytest.raises(DatabaseError):
        database.begin_turn(token, TurnStart("x", "SEVERE", False, "symptom"))


def test_a_failure_says_what_to_do_and_never_the_text(tmp_path: Path, database: Database) -> None:
    token = database.open_session()
    database.close()
    with sqlite3.connect(tmp_path / "log.db") as raw:
        raw.execute("DROP TABLE queries")
    with pytest.raises(DatabaseError) as caught:
        database.begin_turn(token, START)
    assert "DATABASE_URL" in str(caught.value)
    assert "chest" not in str(caught.value)
    assert caught.value.__cause__ is None

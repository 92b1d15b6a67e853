"""Step 6: the log. The schema, and the one class that reads and writes it.

Every turn is written twice: its message and triage before any model speaks (`begin_turn`), the rest when it ends (`finish_turn`). A turn
whose end was never written has `finish` null and is shown as interrupted. A session is reached by its unguessable token alone.

Reads, writes    5_database/mediassist.db (DATABASE_URL)
Run              python 5_database/db.py        prints what is in it
"""

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Connection,
    DateTime,
    Engine,
    ForeignKey,
    String,
    create_engine,
    event,
    func,
    make_url,
    select,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from sqlalchemy.pool import ConnectionPoolEntry

from settings import get_settings

Json = Any  # what a JSON column holds: lists and dictionaries of plain values


class DatabaseError(RuntimeError):
    """The log could not be read or written; the message says what failed and what to do, and holds no person's text."""


# --- records: what the rest of the project hands in and gets back ---


@dataclass(frozen=True, slots=True)
class ReasonRecord:
    """A triage rule that fired."""

    rule: str
    level: str
    kind: str
    why: str
    do: str
    evidence: tuple[str, ...]
    source: str
    url: str


@dataclass(frozen=True, slots=True)
class EntityRecord:
    """One entity of a message; offsets into its text."""

    text: str
    label: str
    start: int
    end: int
    status: str
    subject: str
    concept: str | None
    value: float | None
    sentence: int


@dataclass(frozen=True, slots=True)
class PassageRecord:
    """One passage that was shown; `rank` from 1."""

    rank: int
    title: str
    source: str
    url: str
    section: str
    score: float
    text: str


@dataclass(frozen=True, slots=True)
class CitationRecord:
    """Number `n` in an answer; `passage` is the rank it stands for, or None for a rule's source."""

    n: int
    title: str
    url: str
    passage: int | None


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """What filled a part during a turn, and why that one."""

    part: str
    using: str
    reason: str
    degraded: bool


@dataclass(frozen=True, slots=True)
class QuestionRecord:
    """A follow-up question, by the id of the rule that it would decide."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class EditRecord:
    """A recorded fact that the person corrected, after `after` turns, and the urgency that followed.

    The fact is what turn number `turn` (0 is the first) said at `start` to `end`, or, where `concept` is the id of a follow-up question's
    rule, the answer to it. `status` is what it is now: absent, past, or for an answer no.
    """

    after: int
    turn: int
    start: int
    end: int
    concept: str
    text: str
    status: str
    level: str
    emergency: bool

    @property
    def of_answer(self) -> bool:
        """Whether an answer was corrected, which has no place in a text."""
        return self.end == 0


@dataclass(frozen=True, slots=True)
class TurnStart:
    """What is known before any model speaks. `answers` are follow-up answers given with this message, by rule id."""

    text: str
    level: str
    emergency: bool
    kind: str
    notice: str | None = None
    reasons: tuple[ReasonRecord, ...] = ()
    follow_up: tuple[QuestionRecord, ...] = ()
    entities: tuple[EntityRecord, ...] = ()
    models: tuple[ModelRecord, ...] = ()
    answers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class TurnEnd:
    """How a turn ended. `timings` are milliseconds a stage; `models` replace those of the start, with what failed on the way."""

    answer: str
    finish: str
    citations: tuple[CitationRecord, ...] = ()
    passages: tuple[PassageRecord, ...] = ()
    models: tuple[ModelRecord, ...] = ()
    timings: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """A stored turn; `end` is None where it was interrupted before its end was written."""

    id: int
    at: datetime
    start: TurnStart
    end: TurnEnd | None


# --- schema ---


class Base(DeclarativeBase):
    """All tables."""

    type_annotation_map = {datetime: DateTime(timezone=True)}  # noqa: RUF012 - SQLAlchemy's own name and form


class SessionRow(Base):
    """A conversation. Its token, not its number, is what a person holds."""

    __tablename__ = "sessions"
    id: Mapped[int] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    queries: Mapped[list["QueryRow"]] = relationship(back_populates="session", order_by="QueryRow.id")


class QueryRow(Base):
    """A message with its triage."""

    __tablename__ = "queries"
    __table_args__ = (CheckConstraint("level in ('LOW', 'MEDIUM', 'HIGH')", name="level_known"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[int] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(index=True)
    text: Mapped[str]
    level: Mapped[str] = mapped_column(String(6))
    emergency: Mapped[bool]
    kind: Mapped[str] = mapped_column(String(20))
    notice: Mapped[str | None]
    follow_up: Mapped[Json] = mapped_column(JSON)
    answers: Mapped[Json] = mapped_column(JSON)
    session: Mapped[SessionRow] = relationship(back_populates="queries")
    reasons: Mapped[list["ReasonRow"]] = relationship(order_by="ReasonRow.id")
    entities: Mapped[list["EntityRow"]] = relationship(order_by="EntityRow.id")
    docs: Mapped[list["DocRow"]] = relationship(order_by="DocRow.rank")
    response: Mapped["ResponseRow"] = relationship()


class ReasonRow(Base):
    """A rule that fired for a message."""

    __tablename__ = "triage_reasons"
    id: Mapped[int] = mapped_column(primary_key=True)
    query_id: Mapped[int] = mapped_column(ForeignKey("queries.id", ondelete="CASCADE"), index=True)
    rule: Mapped[str]
    level: Mapped[str] = mapped_column(String(6))
    kind: Mapped[str] = mapped_column(String(10))
    why: Mapped[str]
    do: Mapped[str]
    evidence: Mapped[Json] = mapped_column(JSON)
    source: Mapped[str]
    url: Mapped[str]


class EntityRow(Base):
    """An entity found in a message."""

    __tablename__ = "ner_entities"
    id: Mapped[int] = mapped_column(primary_key=True)
    query_id: Mapped[int] = mapped_column(ForeignKey("queries.id", ondelete="CASCADE"), index=True)
    text: Mapped[str]
    label: Mapped[str] = mapped_column(String(40))
    start: Mapped[int]
    end: Mapped[int]
    status: Mapped[str] = mapped_column(String(12))
    subject: Mapped[str] = mapped_column(String(10))
    concept: Mapped[str | None] = mapped_column(String(80))
    value: Mapped[float | None]
    sentence: Mapped[int]


class EditRow(Base):
    """A fact that a person corrected, and the urgency worked out anew."""

    __tablename__ = "fact_edits"
    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[int] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime]
    after: Mapped[int]
    turn: Mapped[int]
    start: Mapped[int]
    end: Mapped[int]
    concept: Mapped[str] = mapped_column(String(80))
    text: Mapped[str]
    status: Mapped[str] = mapped_column(String(12))
    level: Mapped[str] = mapped_column(String(6))
    emergency: Mapped[bool]


class DocRow(Base):
    """A passage that was shown for a message."""

    __tablename__ = "retrieved_docs"
    id: Mapped[int] = mapped_column(primary_key=True)
    query_id: Mapped[int] = mapped_column(ForeignKey("queries.id", ondelete="CASCADE"), index=True)
    rank: Mapped[int]
    title: Mapped[str]
    source: Mapped[str]
    url: Mapped[str]
    section: Mapped[str]
    score: Mapped[float]
    text: Mapped[str]


class ResponseRow(Base):
    """What was answered, how it ended, and which models were active. `finish` is null until the turn ends."""

    __tablename__ = "responses"
    id: Mapped[int] = mapped_column(primary_key=True)
    query_id: Mapped[int] = mapped_column(ForeignKey("queries.id", ondelete="CASCADE"), unique=True)
    text: Mapped[str]
    finish: Mapped[str | None] = mapped_column(String(12))
    finished_at: Mapped[datetime | None]
    citations: Mapped[Json] = mapped_column(JSON)
    models: Mapped[Json] = mapped_column(JSON)
    timings: Mapped[Json] = mapped_column(JSON)


# --- the one class ---


class Database:
    """Reads and writes the log. Safe to share between threads; no transaction stays open between calls."""

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        self._writing = self._engine.execution_options(write=True)
        with self._says_what_failed():
            Base.metadata.create_all(self._writing)

    def open_session(self, token: str | None = None) -> str:
        """The session of `token`, or a new one; returns its token. An unknown token never opens anything: it gets a new session."""
        with self._write() as session:
            if token and session.scalar(select(SessionRow.id).where(SessionRow.token == token)):
                return token
            fresh = secrets.token_urlsafe(24)
            session.add(SessionRow(token=fresh, created_at=datetime.now(UTC)))
            return fresh

    def begin_turn(self, token: str, start: TurnStart) -> int:
        """Store a message and its triage; returns the turn's id. Raises DatabaseError where that fails or the session is unknown."""
        with self._write() as session:
            row = QueryRow(
                session_id=self._owner(session, token),
                created_at=datetime.now(UTC),
                text=start.text,
                level=start.level,
                emergency=start.emergency,
                kind=start.kind,
                notice=start.notice,
                follow_up=[{"id": q.id, "text": q.text} for q in start.follow_up],
                answers=dict(start.answers),
                reasons=[ReasonRow(**_fields(r) | {"evidence": list(r.evidence)}) for r in start.reasons],
                entities=[EntityRow(**_fields(e)) for e in start.entities],
                response=ResponseRow(text="", citations=[], models=[_fields(m) for m in start.models], timings={}),
            )
            session.add(row)
            session.flush()
            return row.id

    def finish_turn(self, turn: int, end: TurnEnd) -> None:
        """Store how a turn ended."""
        with self._write() as session:
            response = session.scalars(select(ResponseRow).where(ResponseRow.query_id == turn)).one()
            response.text = end.answer
            response.finish = end.finish
            response.finished_at = datetime.now(UTC)
            response.citations = [_fields(c) for c in end.citations]
            response.models = [_fields(m) for m in end.models] or response.models
            response.timings = dict(end.timings)
            session.add_all(DocRow(query_id=turn, **_fields(p)) for p in end.passages)

    def add_edit(self, token: str, edit: EditRecord) -> None:
        """Log a corrected fact. Raises DatabaseError where that fails or the session is unknown."""
        with self._write() as session:
            session.add(EditRow(session_id=self._owner(session, token), created_at=datetime.now(UTC), **_fields(edit)))

    def edits(self, token: str) -> list[EditRecord]:
        """All corrected facts of a session, oldest first."""
        with self._read() as session:
            rows = session.scalars(
                select(EditRow).join(SessionRow).where(SessionRow.token == token).order_by(EditRow.id)
            )
            return [EditRecord(**_columns(row, EditRecord)) for row in rows]

    def turns(self, token: str) -> list[TurnRecord]:
        """All turns of a session, oldest first; none for an unknown token."""
        with self._read() as session:
            rows = session.scalars(
                select(QueryRow).join(SessionRow).where(SessionRow.token == token).order_by(QueryRow.id)
            )
            return [_turn(row) for row in rows]

    def counts(self) -> dict[str, int]:
        """Rows in each table."""
        with self._read() as session:
            return {
                table.name: session.scalar(select(func.count()).select_from(table)) or 0
                for table in Base.metadata.sorted_tables
            }

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    def _owner(self, session: Session, token: str) -> int:
        owner = session.scalar(select(SessionRow.id).where(SessionRow.token == token))
        if owner is None:
            raise DatabaseError("This conversation is not in the log: start a new one.")
        return owner

    @contextmanager
    def _write(self) -> Iterator[Session]:
        with self._says_what_failed(), Session(self._writing) as session, session.begin():
            yield session

    @contextmanager
    def _read(self) -> Iterator[Session]:
        with self._says_what_failed(), Session(self._engine) as session:
            yield session

    @contextmanager
    def _says_what_failed(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            # The statement's parameters hold a person's text: only the kind of failure is passed on.
            cause = getattr(error, "orig", None) or error
            raise DatabaseError(
                f"The log could not be used ({type(cause).__name__}). Check DATABASE_URL, the disk's free space and the file's permissions."
            ) from None


def _fields(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def _turn(row: QueryRow) -> TurnRecord:
    response = row.response
    models = tuple(ModelRecord(**m) for m in response.models)
    start = TurnStart(
        text=row.text,
        level=row.level,
        emergency=row.emergency,
        kind=row.kind,
        notice=row.notice,
        reasons=tuple(ReasonRecord(**_columns(r, ReasonRecord) | {"evidence": tuple(r.evidence)}) for r in row.reasons),
        follow_up=tuple(QuestionRecord(**q) for q in row.follow_up),
        entities=tuple(EntityRecord(**_columns(e, EntityRecord)) for e in row.entities),
        models=models,
        answers=tuple(dict(row.answers).items()),
    )
    end = None
    if response.finish is not None:
        end = TurnEnd(
            answer=response.text,
            finish=response.finish,
            citations=tuple(CitationRecord(**c) for c in response.citations),
            passages=tuple(PassageRecord(**_columns(d, PassageRecord)) for d in row.docs),
            models=models,
            timings=tuple(dict(response.timings).items()),
        )
    return TurnRecord(row.id, row.created_at.replace(tzinfo=UTC), start, end)


def _columns(row: Base, record: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in record.__dataclass_fields__}


def _engine(url: str) -> Engine:
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        if engine.url.database and engine.url.database != ":memory:":
            path = Path(engine.url.database)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    for pragma in (
        "journal_mode = WAL",
        "foreign_keys = ON",
        "secure_delete = ON",
        "busy_timeout = 5000",
        "synchronous = NORMAL",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A read that turns into a write fails at once with "database is locked", whatever the timeout: writers say so from the start.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("write") else "BEGIN")


def main() -> int:
    """Print what is in the log."""
    url = get_settings().database_url
    try:
        database = Database(url)
    except DatabaseError as error:
        print(error, file=sys.stderr)
        return 2
    print(
        f"{make_url(url).render_as_string()}\n"
        + "\n".join(f"{count:8} {table}" for table, count in database.counts().items())
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Step 5: a message -> entities -> triage -> passages -> answer, as a module and as a command.

Reads    the search index (INDEX_DIR), the models that models.py names
Writes   the log (DATABASE_URL), unless --no-log
Run      python 3_rag/pipeline.py "I have had a headache since yesterday"
         python 3_rag/pipeline.py --json --no-log "..."
         python 3_rag/pipeline.py --batch FILE --until triage
"""

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Literal, cast

import db
import models
from clinical_data import Level
from entities import NEW_CONVERSATION, Conversation, Entity, Status, Subject, extract
from generate import Answer, answer
from models import Choice, ModelError
from plain_text import clean
from rerank import rerank
from retrieve import CANDIDATES, Passage, build_query, search
from search_index import IndexProblem
from settings import get_settings
from triage import Triage, assess

Until = Literal["triage", "passages", "answer"]
MAX_CHARACTERS = 20_000
TOP_K = 3
_YES_NO = re.compile(r"\W*(yes|yeah|yep|yup|y|no|nope|nah|n|not sure|unsure|don'?t know|idk|maybe)\W*", re.I)


@dataclass(frozen=True)
class Turn:
    """One message and all that came of it, as far as it went. `timings` are milliseconds a stage."""

    text: str
    entities: tuple[Entity, ...]
    triage: Triage
    answers: tuple[tuple[str, str], ...] = ()
    passages: tuple[Passage, ...] = ()
    answer: Answer | None = None
    models: tuple[Choice, ...] = ()
    timings: dict[str, float] = field(default_factory=dict)

    @property
    def degraded(self) -> tuple[Choice, ...]:
        """The parts that did not have the full tier's model, or failed."""
        return tuple(c for c in self.models if c.degraded)


def turn(
    message: str, conversation: Conversation = NEW_CONVERSATION, *, until: Until = "answer", top_k: int = TOP_K
) -> Iterator[Turn | str]:
    """The chain. Yields the Turn as each stage completes it, and between the last two the answer's sentences as they are ready."""
    clock = _Clock()
    text, too_long = _accepted(message)

    with clock("entities"):
        entities = tuple(extract(text))
        answers = _new_answers(text, conversation)
        conversation = replace(conversation, answers=(*conversation.answers, *answers))
    with clock("triage"):
        triage = assess(text, entities, conversation)
    done = Turn(text, entities, triage, answers, models=models.choices(), timings=clock.milliseconds)
    yield done
    if too_long:
        yield replace(done, answer=_TOO_LONG)
    if until == "triage" or too_long:
        return

    with clock("retrieve"):
        query = build_query(clean(text), entities, conversation)
        candidates, problem = _found(lambda: search(query, max(CANDIDATES, top_k)))
    with clock("rerank"):
        passages = tuple(rerank(query, candidates, top_k))
    done = replace(done, passages=passages, models=(*done.models, *problem))
    yield done
    if until == "passages":
        return

    with clock("generate"):
        for said in answer(clean(text), passages, triage, conversation):
            if isinstance(said, str):
                yield said
            else:
                done = replace(done, answer=said, models=_after(done.models, said))
    yield done


def _accepted(message: str) -> tuple[str, bool]:
    """The text that is read, and whether the message was too long; of one that is, the two ends, so that a red flag is still seen."""
    if len(message) <= MAX_CHARACTERS:
        return message, False
    return f"{message[:4000]}\n{message[-4000:]}", True


_TOO_LONG = Answer(
    f"That message is too long for me (over {MAX_CHARACTERS:,} characters). Please send the most important part: what you feel, where, and since when.",
    (),
    "refused",
)


def _found(look: Callable[[], list[Passage]]) -> tuple[list[Passage], tuple[Choice, ...]]:
    """What a search brings; without an index the turn goes on, and says so."""
    try:
        return look(), ()
    except (IndexProblem, ModelError) as problem:
        return [], (Choice("embedder", "no references", str(problem), True),)


def _after(active: tuple[Choice, ...], said: Answer) -> tuple[Choice, ...]:
    """The models of the turn, with the generator's replaced where it failed on the way."""
    if said.degraded is None:
        return active
    return tuple(said.degraded if c.part == "generator" else c for c in active)


# --- follow-up questions ---


def _new_answers(text: str, conversation: Conversation) -> tuple[tuple[str, str], ...]:
    """A bare "yes" or "no" answers the most dangerous question that is still open."""
    match = _YES_NO.fullmatch(text)
    answered = {rule for rule, _ in conversation.answers}
    open_questions = [rule for rule in conversation.asked if rule not in answered]
    if not match or not open_questions:
        return ()
    word = match[1].lower()
    return (
        (open_questions[0], "yes" if word[0] == "y" else "no" if word in ("no", "nope", "nah", "n") else "not sure"),
    )


# --- the log ---


def recorded(
    database: db.Database, token: str, message: str, conversation: Conversation, *, top_k: int = TOP_K
) -> Generator[Turn | str]:
    """`turn`, with the message and its triage stored before anything else happens, and the rest stored however the turn ends.

    Where the log fails the turn goes on; the failure is the last of the turn's `models`, so that it is shown.
    """
    said: list[str] = []
    number: int | None = None
    latest: Turn | None = None
    unlogged: tuple[Choice, ...] = ()
    try:
        for item in turn(message, conversation, top_k=top_k):
            if isinstance(item, str):
                said.append(item)
                yield item
                continue
            if latest is None:
                try:
                    number = database.begin_turn(token, start_record(item))
                except db.DatabaseError as error:
                    unlogged = (Choice("log", "nothing is saved", str(error), True),)
            latest = replace(item, models=(*item.models, *unlogged))
            yield latest
    finally:  # also when the person stops it or closes the page
        if number is not None and latest is not None:
            try:
                database.finish_turn(number, end_record(latest, said))
            except db.DatabaseError as error:
                print(error, file=sys.stderr)


def start_record(item: Turn) -> db.TurnStart:
    """What is stored before any model speaks."""
    triage = item.triage
    return db.TurnStart(
        text=clean(item.text),
        level=triage.level,
        emergency=triage.emergency,
        kind=triage.kind,
        notice=triage.notice,
        reasons=tuple(
            db.ReasonRecord(
                r.rule, r.level, r.kind, r.why, r.do, tuple(map(clean, r.evidence)), r.source.name, r.source.url
            )
            for r in triage.reasons
        ),
        follow_up=tuple(db.QuestionRecord(q.id, q.text) for q in triage.follow_up),
        entities=tuple(
            db.EntityRecord(clean(e.text), e.label, e.start, e.end, e.status, e.subject, e.concept, e.value, e.sentence)
            for e in item.entities
        ),
        models=_model_records(item),
        answers=item.answers,
    )


def end_record(item: Turn, said: Sequence[str]) -> db.TurnEnd:
    """What is stored at the end; a turn that was stopped keeps what had been said."""
    final = item.answer or Answer("\n".join(said), (), "interrupted")
    return db.TurnEnd(
        answer=clean(final.text),
        finish=final.finish,
        citations=tuple(db.CitationRecord(c.n, c.title, c.url, c.passage) for c in final.citations),
        passages=tuple(
            db.PassageRecord(rank, p.title, p.source, p.url, p.section, p.score, p.text)
            for rank, p in enumerate(item.passages, 1)
        ),
        models=_model_records(item),
        timings=tuple(item.timings.items()),
    )


def _model_records(item: Turn) -> tuple[db.ModelRecord, ...]:
    return tuple(db.ModelRecord(c.part, c.using, c.reason, c.degraded) for c in item.models)


def conversation_of(turns: Sequence[db.TurnRecord], edits: Sequence[db.EditRecord] = ()) -> Conversation:
    """The conversation so far, from the log, with the facts that the person corrected.

    The level is the stored one, of the last turn or of a later correction: it is not worked out anew.
    """
    decided = latest(turns, edits)
    return Conversation(
        messages=tuple(t.start.text for t in turns),
        entities=tuple(tuple(_corrected(e, n, edits) for e in t.start.entities) for n, t in enumerate(turns)),
        answers=(*(a for t in turns for a in t.start.answers), *((e.concept, e.status) for e in edits if e.of_answer)),
        asked=tuple(q.id for t in turns for q in t.start.follow_up),
        level=cast("Level", decided.level if decided else "LOW"),
        replies=tuple(t.end.answer if t.end else "" for t in turns),
    )


def latest(turns: Sequence[db.TurnRecord], edits: Sequence[db.EditRecord]) -> db.TurnStart | db.EditRecord | None:
    """What decided the level last: a correction made after the last turn, else that turn."""
    if edits and edits[-1].after == len(turns):
        return edits[-1]
    return turns[-1].start if turns else None


def correct(
    turns: Sequence[db.TurnRecord],
    edits: Sequence[db.EditRecord],
    turn: int,
    fact: db.EntityRecord | str,
    status: Status,
) -> db.EditRecord:
    """The person says that a recorded fact is wrong: a finding is not there or in the past, or the answer to a question (its id) is no.

    The urgency is worked out anew from all that is recorded, so it may fall.
    """
    question = {q.id: q.text for t in turns for q in t.start.follow_up}
    if isinstance(fact, str):
        edit = db.EditRecord(len(turns), turn, 0, 0, fact, question[fact], "no", "LOW", False)
    else:
        edit = db.EditRecord(
            len(turns), turn, fact.start, fact.end, fact.concept or "", fact.text, status, "LOW", False
        )
    whole = conversation_of(turns, [*edits, edit])
    before = replace(whole, entities=whole.entities[:-1], messages=whole.messages[:-1], level="LOW")
    triage = assess(whole.messages[-1], whole.entities[-1], before)
    return replace(edit, level=triage.level, emergency=triage.emergency)


def _corrected(e: db.EntityRecord, turn: int, edits: Sequence[db.EditRecord]) -> Entity:
    entity = _entity(e)
    for edit in edits:
        if not edit.of_answer and (edit.turn, edit.start, edit.end) == (turn, e.start, e.end):
            entity = replace(entity, status=cast("Status", edit.status))
    return entity


def _entity(e: db.EntityRecord) -> Entity:
    status, subject = cast("Status", e.status), cast("Subject", e.subject)  # stored from these very literals
    return Entity(e.text, e.label, e.start, e.end, status, subject, e.concept, e.value, e.sentence)


class _Clock:
    """Milliseconds a stage."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.milliseconds[stage] = round((time.perf_counter() - started) * 1000, 3)


# --- the command ---


def as_json(item: Turn, name: str | None) -> dict[str, Any]:
    """The object that DESIGN.md promises."""
    triage = item.triage
    final = item.answer
    return {
        "id": name,
        "triage": {
            "level": triage.level,
            "emergency": triage.emergency,
            "kind": triage.kind,
            "reasons": [
                {
                    "rule": r.rule,
                    "why": r.why,
                    "evidence": list(r.evidence),
                    "source": {"name": r.source.name, "url": r.source.url},
                }
                for r in triage.reasons
            ],
            "follow_up": [{"id": q.id, "text": q.text} for q in triage.follow_up],
        },
        "entities": [
            {
                "text": e.text,
                "label": e.label,
                "start": e.start,
                "end": e.end,
                "status": e.status,
                "subject": e.subject,
                "concept": e.concept,
            }
            for e in item.entities
        ],
        "passages": [
            {
                "rank": rank,
                "title": p.title,
                "source": p.source,
                "url": p.url,
                "section": p.section,
                "score": p.score,
                "text": p.text,
            }
            for rank, p in enumerate(item.passages, 1)
        ],
        "answer": final.text if final else None,
        "citations": [{"n": c.n, "title": c.title, "url": c.url} for c in final.citations] if final else [],
        "finish": final.finish if final else None,
        "degraded": [{"part": c.part, "using": c.using, "reason": c.reason} for c in item.degraded],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Answer one message, or a file of them."""
    args = _arguments(argv)
    if args.index:
        os.environ["INDEX_DIR"] = str(args.index.resolve())
    try:
        log = None if args.no_log else db.Database(get_settings().database_url)
    except db.DatabaseError as error:
        print(f"{error} Or run with --no-log.", file=sys.stderr)
        return 2
    try:
        if args.batch:
            with _opened(args.batch) as lines:
                return _batch(lines, args, log)
        item = _last(_run(args.message, NEW_CONVERSATION, args, log))
        print(json.dumps(as_json(item, None)) if args.json else _readable(item))
    except FileNotFoundError:
        print(f"There is no file {args.batch}. Name a JSONL file, or - for standard input.", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Triage a message, find passages, and answer with citations.",
        epilog='a line of a batch: {"id": "a", "text": "my chest hurts", "history": ["earlier message"]}',
    )
    parser.add_argument("message", nargs="?", help="what is wrong, in plain English")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--batch", metavar="FILE", help="JSONL in, JSONL out, in order; - is standard input")
    parser.add_argument(
        "--until",
        choices=("triage", "passages", "answer"),
        default="answer",
        help="stop after this stage (default: answer)",
    )
    parser.add_argument(
        "--top-k", type=_positive, default=TOP_K, metavar="N", help="how many passages come back (default: %(default)s)"
    )
    parser.add_argument("--no-log", action="store_true", help="do not write to the log")
    parser.add_argument("--index", type=Path, metavar="DIR", help="read this index (default: INDEX_DIR)")
    parser.add_argument("--timings", action="store_true", help="add milliseconds a stage to JSON output")
    args = parser.parse_args(argv)
    if (args.message is None) == (args.batch is None):
        parser.error(
            'give one message in quotes, or --batch FILE; for example: python 3_rag/pipeline.py "I have a sore throat"'
        )
    return args


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


@contextmanager
def _opened(name: str) -> Iterator[IO[str]]:
    if name == "-":
        yield sys.stdin
    else:
        with Path(name).open(encoding="utf-8", errors="surrogateescape") as file:
            yield file


def _batch(lines: IO[str], args: argparse.Namespace, log: db.Database | None) -> int:
    for line in lines:
        if not line.strip():
            continue
        name: Any = None
        try:
            row = json.loads(line)
            name = row.get("id") if isinstance(row, dict) else None
            text, history = _checked(row)
        except ValueError as error:
            print(json.dumps({"id": name, "error": f"not read: {error}"}), flush=True)
            continue
        item = _last(_run(text, _conversation(history), args, log))
        result = as_json(item, name)
        if args.timings:
            result["timings"] = item.timings
        print(json.dumps(result), flush=True)
    return 0


def _checked(row: Any) -> tuple[str, list[str]]:
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise ValueError('a line must be an object with "id" and "text"')
    history = row.get("history") or []
    if not isinstance(history, list) or not all(isinstance(h, str) for h in history):
        raise ValueError('"history" must be a list of earlier messages')
    return row["text"], history


def _conversation(history: Sequence[str]) -> Conversation:
    """The conversation that earlier messages made, triaged one by one."""
    conversation = NEW_CONVERSATION
    for message in history:
        item = _last(turn(message, conversation, until="triage"))
        conversation = continued(conversation, item)
    return conversation


def continued(conversation: Conversation, item: Turn) -> Conversation:
    """The conversation with a turn added."""
    return replace(
        conversation,
        messages=(*conversation.messages, item.text),
        entities=(*conversation.entities, item.entities),
        answers=(*conversation.answers, *item.answers),
        asked=(*conversation.asked, *(q.id for q in item.triage.follow_up)),
        level=item.triage.level,
        replies=(*conversation.replies, item.answer.text if item.answer else ""),
    )


def _run(
    text: str, conversation: Conversation, args: argparse.Namespace, log: db.Database | None
) -> Iterator[Turn | str]:
    if log and args.until == "answer":
        return recorded(log, log.open_session(), text, conversation, top_k=args.top_k)
    return turn(text, conversation, until=args.until, top_k=args.top_k)


def _last(items: Iterator[Turn | str]) -> Turn:
    *_, item = (i for i in items if isinstance(i, Turn))
    return item


def _readable(item: Turn) -> str:
    triage = item.triage
    lines = [f"Urgency: {triage.level}" + (" - call an ambulance or a crisis line now" if triage.emergency else "")]
    lines += [f"  because: {r.why} ({', '.join(r.evidence)}) [{r.source.name}]" for r in triage.reasons]
    lines += ["", item.answer.text if item.answer else "", ""]
    lines += [f"[{c.n}] {c.title}  {c.url}" for c in (item.answer.citations if item.answer else ())]
    lines += [f"To be sure: {q.text}" for q in triage.follow_up]
    lines += [f"({c.part}: {c.using}; {c.reason})" for c in item.degraded]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

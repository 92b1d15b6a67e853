"""The chat: what was said, how urgent it is, the answer with its sources, and the box to type in."""

import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import streamlit as st

from clinical_data import load_places
from drawing import draw_entities, escaped, wait_until_ready
from loading import STEPS, backend

BADGES = {
    "HIGH": ("HIGH: get emergency care now", st.error, ":material/emergency:"),
    "MEDIUM": ("MEDIUM: see a health professional", st.warning, ":material/schedule:"),
    "LOW": ("LOW: self-care is likely to be enough", st.success, ":material/check_circle:"),
}
KIND_BADGES = {
    "information": "General information: no urgent sign in what you wrote",
    "greeting": "Ready when you are",
    "unclear": "Not understood yet",
    "out_of_scope": "Not a question about a person's health",
}
FINISHES = {
    "interrupted": "This answer was stopped before its end.",
    "truncated": "This answer was cut short by its length limit.",
    "failed": "No answer could be made. The urgency above still stands.",
}
EXAMPLES = (
    "I have had a sore throat and a runny nose for two days",
    "My chest feels tight and my left arm is numb",
    "What are the signs of a stroke?",
)
CORRECTIONS = {"absent": "you do not have this", "past": "it is over", "no": "the answer is no"}
MOST_REASONS = 3
ELSEWHERE = "another country"
_CITATION = re.compile(r"\s*\[(\d+)\]\s*$")


def sentence(text: str) -> str:
    """One sentence of an answer, its citation number made visible as one."""
    number = _CITATION.search(text)
    return escaped(text[: number.start()] if number else text) + (f" :blue-background[{number[1]}]" if number else "")


# --- numbers to call ---


def country() -> str | None:
    """The country chosen in the sidebar, by default that of the browser's language; None for one that is not listed."""
    code = st.session_state.get("country", (st.context.locale or "").rsplit("-", 1)[-1])
    return code if code in load_places() else None


def call_now() -> str:
    """The sentence that sends someone to the ambulance service of their country."""
    code = country()
    return f"Call {load_places()[code].emergency} now." if code else "Call your local emergency number now."


def lines_to_call(kinds: set[str]) -> list[str]:
    """The crisis or poison line of the country, where one is known and a reason of that kind fired."""
    place = load_places().get(country() or "")
    lines = []
    if place and place.crisis and "crisis" in kinds:
        lines.append(f"**{escaped(place.crisis_name or 'Crisis line')}: {escaped(place.crisis)}**")
    elif "crisis" in kinds:
        lines.append("**You can also call a crisis line in your country: findahelpline.com lists them.**")
    if place and place.poison and "poison" in kinds:
        lines.append(f"**Poison centre: {escaped(place.poison)}**")
    return lines


# --- one turn ---


def draw_triage(start: Any) -> None:
    """The badge and why; `start` is a db.TurnStart."""
    if start.kind in KIND_BADGES and start.level == "LOW":
        st.info(f"**{KIND_BADGES[start.kind]}**", icon=":material/info:")
        return
    title, box, icon = BADGES[start.level]
    if start.kind == "other_language":
        title = f"{start.level}: I only understand English"
    calls = [f"**{call_now()}**"] if start.emergency or start.kind == "other_language" else []
    calls += lines_to_call({r.kind for r in start.reasons})
    notice = [escaped(start.notice)] if start.notice else []
    box("\n\n".join([f"**{title}**", *calls, *notice, "\n".join(map(reason, telling(start.reasons)))]), icon=icon)


def telling(reasons: tuple[Any, ...]) -> list[Any]:
    """The reasons that add something: those of the highest level first, and none whose words another has quoted already."""
    shown: list[Any] = []
    for r in reasons:
        quoted = {words for s in shown for words in s.evidence}
        if not shown or not set(r.evidence) <= quoted:
            shown.append(r)
    return shown[:MOST_REASONS]


def reason(r: Any) -> str:
    """One rule that fired as a line: why, the person's words, the source."""
    words = f"You wrote: “{escaped(', '.join(r.evidence))}”. " if r.evidence else ""
    return f"- {escaped(r.why)} {words}([{escaped(r.source)}]({r.url}))"


def draw_end(turn: Any) -> None:
    """The answer, how it ended, and its sources; `turn` is a db.TurnRecord."""
    end = turn.end
    if end is None:
        st.caption(FINISHES["interrupted"])
        return
    for line in end.answer.split("\n"):
        st.markdown(sentence(line))
    if end.finish in FINISHES:
        st.caption(FINISHES[end.finish])
    draw_sources(turn)


def draw_sources(turn: Any) -> None:
    """A button a citation, opening what it cites; then what was understood and what was used."""
    passages = {p.rank: p for p in turn.end.passages}
    with st.container(horizontal=True):
        for citation in turn.end.citations:
            with st.popover(f"{citation.n} · {citation.title[:40]}", key=f"cite-{turn.id}-{citation.n}"):
                passage = passages.get(citation.passage)
                st.markdown(f"**{escaped(citation.title)}**" + (f" · {escaped(passage.section)}" if passage else ""))
                if passage:
                    st.markdown(escaped(passage.text))
                else:
                    st.markdown("The public page that the urgency rule rests on.")
                if citation.url.startswith("https://"):
                    st.markdown(f"[Open the public source]({citation.url})")
    with st.expander("What was understood, and what was used", icon=":material/visibility:"):
        draw_entities(turn.start.entities)
        for model in turn.end.models or turn.start.models:
            st.markdown(f"- {escaped(model.part.capitalize())}: **{escaped(model.using)}** ({escaped(model.reason)})")


# --- the conversation ---


def stored_turns() -> list[Any]:
    """This session's turns: from the browser session, or from the log by the token in the address."""
    database = backend().database
    token = st.query_params.get("session")
    if "turns" not in st.session_state and database and backend().pipeline and token:
        st.session_state.turns = database.turns(token)
    turns: list[Any] = st.session_state.get("turns", [])
    return turns


def stored_edits() -> list[Any]:
    """The facts that the person corrected in this session."""
    database, token = backend().database, st.query_params.get("session")
    if "edits" not in st.session_state and database and token:
        st.session_state.edits = database.edits(token)
    edits: list[Any] = st.session_state.get("edits", [])
    return edits


def draw_edit(edit: Any) -> None:
    """A line for a fact that was corrected; `edit` is a db.EditRecord."""
    st.info(
        f"You corrected “{escaped(edit.text)}”: {CORRECTIONS.get(edit.status, edit.status)}. The urgency was worked out again: **{edit.level}**.",
        icon=":material/edit:",
    )


def offer_corrections(pipeline: Any, turns: list[Any], edits: list[Any]) -> None:
    """Let the person say that something was misunderstood, which is logged and may lower the urgency."""
    done = {e.concept if e.of_answer else (e.turn, e.start, e.end) for e in edits}
    questions = {q.id: q.text for t in turns for q in t.start.follow_up}
    facts = {
        e.text.strip(): (n, e)
        for n, t in enumerate(turns)
        for e in t.start.entities
        if e.status in ("present", "uncertain") and e.concept and e.value is None and (n, e.start, e.end) not in done
    }
    answers = {
        f"Your yes to: {questions[rule]}": (n, rule)
        for n, t in enumerate(turns)
        for rule, said in t.start.answers
        if said == "yes" and rule in questions and rule not in done
    }
    if not facts and not answers:
        return
    with st.expander("Did I get something wrong?", icon=":material/edit:"):
        chosen = st.selectbox("What I understood", [*facts, *answers], key=f"wrong-{len(turns)}-{len(edits)}")
        with st.container(horizontal=True):
            for status, label in {"absent": "I do not have this", "past": "It is over, long ago"}.items():
                if (chosen in facts or status == "absent") and st.button(label, key=f"fix-{status}"):
                    number, fact = facts[chosen] if chosen in facts else answers[chosen]
                    keep_edit(pipeline.correct(turns, edits, number, fact, status), edits)
                    st.rerun()


def keep_edit(edit: Any, edits: list[Any]) -> None:
    """Log a correction, a db.EditRecord."""
    import db

    st.session_state.edits = [*edits, edit]
    database, token = backend().database, st.query_params.get("session")
    if database and token:
        try:
            database.add_edit(token, edit)
        except db.DatabaseError as error:
            st.toast(f"Your correction counts, but it was not saved. {error}", icon=":material/warning:")


def new_turn(message: str) -> None:
    """Run the chain for a message, drawing each stage as it comes; then draw the page anew from what is stored."""
    with st.chat_message("user"):
        st.markdown(escaped(message))
    with st.chat_message("assistant"):
        wait_until_ready()
        pipeline = backend().pipeline
        if pipeline is None:
            st.error(
                f"The app could not start. If this may be an emergency: {call_now()} For the person who runs this app: {backend().problem}"
            )
            return
        box, lines = st.container(), st.container()
        for item in items(pipeline, message):
            if isinstance(item, str):
                lines.markdown(sentence(item))
            elif "drawn" not in st.session_state:
                st.session_state.drawn = True
                with box:
                    draw_triage(pipeline.start_record(item))


def items(pipeline: Any, message: str) -> Iterator[Any]:
    """The turn's stages, kept in the session as they come, however it ends."""
    import db

    turns = list(st.session_state.get("turns", []))
    conversation = pipeline.conversation_of(turns, stored_edits())
    database, latest, said = backend().database, None, []
    try:
        token = database.open_session(st.query_params.get("session")) if database else None
    except db.DatabaseError:
        token = None
    if token:
        st.query_params["session"] = token
    steps = pipeline.recorded(database, token, message, conversation) if token else pipeline.turn(message, conversation)
    st.session_state.pop("drawn", None)
    try:
        for item in steps:
            if isinstance(item, str):
                said.append(item)
            else:
                latest = item
                st.session_state.pop("pending", None)
                st.session_state.turns = [
                    *turns,
                    db.TurnRecord(len(turns), datetime.now(UTC), pipeline.start_record(item), None),
                ]
            yield item
    finally:
        steps.close()
        if latest is not None:
            record = st.session_state.turns[-1]
            st.session_state.turns = [*turns, replace(record, end=pipeline.end_record(latest, said))]


@st.fragment(run_every=0.5)
def loading_line() -> None:
    """One line while models load; when they are there, the page is drawn once more."""
    if backend().ready.is_set():
        st.rerun()
    step = min(backend().step, len(STEPS) - 1)
    st.progress(step / len(STEPS), f"{STEPS[step]} ... You can type already.")


def open_question(turns: list[Any]) -> Any:
    """The first follow-up question that has no answer yet."""
    answered = {rule for t in turns for rule, _ in t.start.answers}
    return next((q for t in turns for q in t.start.follow_up if q.id not in answered), None)


def offer(label: str, choices: tuple[str, ...]) -> None:
    """Things to say by tapping."""
    with st.container(horizontal=True):
        for choice in choices:
            if st.button(choice, key=f"{label}-{choice}"):
                st.session_state.pending = choice
                st.rerun()


# --- draw the page ---

st.title("MediAssist", anchor=False)
st.caption(
    "Information, not a diagnosis. Not a doctor, and not checked by one. In an emergency call your local emergency number."
)

with st.sidebar:
    if st.button(
        "New concern",
        icon=":material/add_comment:",
        width="stretch",
        help="Starts a new conversation. The old one stays at its own address.",
    ):
        st.session_state.clear()
        st.query_params.clear()
        st.rerun()
    places = load_places()
    options = [*sorted(places, key=lambda code: places[code].name), ELSEWHERE]
    st.selectbox(
        "Emergency numbers for",
        options,
        index=options.index(country() or ELSEWHERE),
        format_func=lambda code: places[code].name if code in places else code,
        key="country",
    )
    st.caption("This conversation is kept on this computer. To find it again, keep the address of this page.")
    if backend().problem:
        st.warning(backend().problem)
    sidebar_models = st.container()

turns = stored_turns()
typed = st.chat_input("Describe what is wrong", submit_mode="stop")
if typed:
    st.session_state.pending = typed  # until its triage is kept, so that nothing that redraws the page loses it
if not backend().ready.is_set() and "pending" not in st.session_state:
    loading_line()
if not turns and "pending" not in st.session_state:
    st.markdown("Tell me what is wrong, in your own words: what you feel, since when, and how bad it is.")
    offer("For example", EXAMPLES)

edits = stored_edits() if turns else []
for number, turn in enumerate(turns, 1):
    with st.chat_message("user"):
        st.markdown(escaped(turn.start.text))
    with st.chat_message("assistant"):
        draw_triage(turn.start)
        draw_end(turn)
    for edit in edits:
        if edit.after == number:
            draw_edit(edit)

pipeline = backend().pipeline
decided = pipeline.latest(turns, edits) if pipeline else None
if decided and decided.emergency and "pending" not in st.session_state:
    # A small screen shows the end of the answer, so what matters most stands there too.
    st.error(f"**HIGH: {call_now()}**", icon=":material/emergency:")
question = open_question(turns)
if question and "pending" not in st.session_state:
    st.markdown(f"**To be sure:** {escaped(question.text)}")
    offer(f"Answer {len(turns)}", ("Yes", "No", "Not sure"))

if turns and pipeline and "pending" not in st.session_state:
    offer_corrections(pipeline, turns, edits)

if "pending" in st.session_state:
    try:
        new_turn(st.session_state.pending)
    except Exception:  # a failure shows a sentence; the terminal has the rest
        logging.getLogger("mediassist").exception("a turn failed")
        st.error(
            f"Something went wrong while answering. Any urgency shown above still stands. If this may be an emergency: {call_now()}"
        )
        st.session_state.pop("pending", None)
    else:
        st.session_state.pop("pending", None)
        st.rerun()

if pipeline:
    with sidebar_models, st.expander("Models in use", icon=":material/memory:"):
        for choice in pipeline.models.choices():
            st.markdown(f"**{escaped(choice.part.capitalize())}**: {escaped(choice.using)}  \n{escaped(choice.reason)}")

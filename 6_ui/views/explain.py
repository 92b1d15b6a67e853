"""Why a message gets its level: what was read, the rules that fired, those that nearly did, and their sources. Nothing typed here is kept."""

from typing import Any

import streamlit as st

from drawing import draw_entities, escaped, wait_until_ready
from loading import backend

MOST = 10


def draw_fired(reasons: tuple[Any, ...]) -> None:
    """The rules that fired, each with the words that fired it and its source."""
    for r in reasons:
        words = f" From: “{escaped(', '.join(r.evidence))}”." if r.evidence else ""
        st.markdown(
            f"- **{r.level}** {escaped(r.why)}{words} Rule {escaped(r.rule)}, [{escaped(r.source.name)}]({r.source.url})"
        )
    if not reasons:
        st.markdown("No rule fired.")


def draw_near(near: tuple[Any, ...]) -> None:
    """The rules that were one thing short of firing, or were held back."""
    for n in near[:MOST]:
        why = f"held back by “{escaped(', '.join(n.held_by))}”" if n.held_by else f"lacks {escaped(n.lacks[0])}"
        st.markdown(
            f"- **{n.rule.level}** rule {escaped(n.rule.id)} has “{escaped(', '.join(n.evidence))}”; {why}. [{escaped(n.rule.source.name)}]({n.rule.source.url})"
        )
    if len(near) > MOST:
        st.caption(f"The {MOST} most urgent of {len(near)}.")
    if not near:
        st.markdown("No rule was close to firing.")


st.title("Why this urgency", anchor=False)
st.markdown(
    "Type any message to see how its urgency is decided: by written rules, each with a public source. Nothing you type on this page is kept."
)
message = st.text_area("Message", placeholder="My chest feels tight when I walk uphill", max_chars=5000)
if st.button("Explain", type="primary") and message.strip():
    wait_until_ready()
    if backend().pipeline is None:
        st.error(f"The app could not start. For the person who runs this app: {backend().problem}")
        st.stop()
    from triage import explain

    explanation = explain(message)
    st.subheader(f"Urgency: {explanation.triage.level}", anchor=False)
    if explanation.triage.emergency:
        st.markdown("The advice is to call an ambulance or a crisis line now.")
    st.subheader("What was understood", anchor=False)
    draw_entities(explanation.entities)
    st.subheader("Rules that fired", anchor=False)
    draw_fired(explanation.triage.reasons)
    st.subheader("Rules that nearly fired", anchor=False)
    draw_near(explanation.near)
    for question in explanation.triage.follow_up:
        st.markdown(f"Would ask next: {escaped(question.text)}")

"""What more than one page draws."""

import re
from collections.abc import Iterable
from typing import Any

import streamlit as st

from loading import STEPS, backend

STATUS_WORDS = {
    "present": "",
    "absent": "not there",
    "past": "in the past",
    "hypothetical": "asked about",
    "uncertain": "not sure",
}
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~$:^&@=])")


def escaped(text: str) -> str:
    """Text of a person, a document or a model, so that none of it acts as Markdown, a link, an image or HTML."""
    return _MARKDOWN.sub(r"\\\1", text).replace("\n", "  \n")


def draw_entities(entities: Iterable[Any]) -> None:
    """The entities found, as badges."""
    found = {(e.text.strip(), e.label, e.status): e for e in entities}.values()
    if not found:
        st.markdown("No medical term was found in this message.")
        return
    with st.container(horizontal=True):
        for e in found:
            note = ", ".join(w for w in (e.label.lower(), STATUS_WORDS[e.status]) if w)
            st.badge(
                f"{escaped(e.text.strip()[:60])} ({note})",
                color="blue" if e.status in ("present", "uncertain") else "gray",
            )


def wait_until_ready() -> None:
    """Show how far loading is until urgency can be decided; the message waits, it is not lost."""
    if backend().triage_ready.is_set():
        return
    with st.status("Getting ready. Your message is kept.", expanded=False) as status:
        bar = st.progress(0.0)
        while not backend().triage_ready.wait(0.2):
            bar.progress(backend().step / len(STEPS), STEPS[min(backend().step, len(STEPS) - 1)])
        status.update(label="Ready", state="complete")

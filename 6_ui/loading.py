"""Loads the models once for all sessions, in a thread that starts after the first draw, and says how far it is."""

import logging
import threading
import time
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING

import streamlit as st

if TYPE_CHECKING:
    from db import Database

STEPS = (
    "Opening the log",
    "Reading the triage rules",
    "Loading the language tools",
    "Loading the search model",
    "Opening the search index",
)


@dataclass
class Backend:
    """What the pages use once it is there. `triage_ready` comes before `ready`: urgency never waits for the search model."""

    triage_ready: threading.Event = field(default_factory=threading.Event)
    ready: threading.Event = field(default_factory=threading.Event)
    step: int = 0
    problem: str | None = None
    database: "Database | None" = None
    pipeline: ModuleType | None = None
    _started: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        """Begin to load; the second and later calls do nothing."""
        if self._started.acquire(blocking=False):
            threading.Thread(target=self._load, name="loading", daemon=True).start()

    def _load(self) -> None:
        # The server answers other sessions between two imports only if this thread lets it.
        time.sleep(0.2)
        try:
            self._open_log()
            self.step = 1
            import pipeline
            from clinical_data import load_rules
            from entities import extract

            self.pipeline = pipeline
            load_rules()
            self.step = 2
            extract("hello")
            self.triage_ready.set()
            self.step = 3
            from models import embedder, reranker

            embedder()
            reranker()
            self.step = 4
            from retrieve import open_index

            open_index()
        except Exception as error:  # the page shows the sentence; the log on the terminal has the rest
            logging.getLogger("mediassist").exception("loading failed at step %s", STEPS[self.step])
            self.problem = str(error)
        finally:
            self.step = len(STEPS)
            self.triage_ready.set()
            self.ready.set()

    def _open_log(self) -> None:
        from db import Database, DatabaseError
        from settings import get_settings

        try:
            self.database = Database(get_settings().database_url)
        except DatabaseError as error:
            self.problem = f"{error} This chat is not being saved."


@st.cache_resource(show_spinner=False)
def backend() -> Backend:
    """The one backend of this process, shared by all sessions; it holds no person's data."""
    return Backend()


def start_loading() -> None:
    """Start to load in the background, once a process."""
    backend().start()

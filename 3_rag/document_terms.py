"""The titles and synonyms of the documents in the search index, which join the lexicon: what the knowledge base is about is a medical term.

`index.py` writes them into each build as terms.json; without an index there are none.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from settings import get_settings

_SHORTEST = 4  # characters; shorter names ("ms", "ear") are words of other things


def current_build(index_dir: Path) -> Path | None:
    """The folder of the build that serves, or None."""
    try:
        build = index_dir / "builds" / (index_dir / "current").read_text("utf-8").strip()
    except FileNotFoundError:
        return None
    return build if build.is_dir() else None


def write_terms(build: Path, terms: Mapping[str, str]) -> None:
    """Write the terms of a build: each name of a document to its title."""
    kept = {name.lower(): title for name, title in terms.items() if len(name) >= _SHORTEST}
    (build / "terms.json").write_text(json.dumps(kept, ensure_ascii=False, indent=0), "utf-8")


@cache
def load_terms() -> Mapping[str, str]:
    """The terms of the build that serves when they are first asked for; empty where there is none."""
    build = current_build(get_settings().index_dir)
    if build is None or not (build / "terms.json").is_file():
        return {}
    terms: dict[str, str] = json.loads((build / "terms.json").read_text("utf-8"))
    return terms

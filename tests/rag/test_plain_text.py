"""plain(): what was typed becomes plain letters, and every plain character knows where it came from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plain_text import plain


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("CHEST Pain", "chest pain"),
        ("chest\0pain", "chest pain"),
        ("ch\u200best pain", "chest pain"),
        ("\u0441hest p\u0430in", "chest pain"),
        ("ｃｈｅｓｔ　ｐａｉｎ", "chest pain"),
        ("c\u0336h\u0336e\u0336st", "chest"),
        ("can\u2019t", "can't"),
        ("\u202echest", "chest"),
        ("\ud800chest", " chest"),
        ("a\r\nb\u2028c", "a\n\nb\nc"),
    ],
)
def test_decorations_fall_away(typed: str, expected: str) -> None:
    assert plain(typed).text == expected


def test_another_script_stays_itself() -> None:
    assert plain("боль в сердце").text == "боль в сердце"


@given(st.text(st.characters(codec=None), max_size=200))
def test_any_text_is_read_and_its_offsets_hold(typed: str) -> None:
    result = plain(typed)
    assert len(result.offsets) == len(result.text)
    assert list(result.offsets) == sorted(result.offsets)
    if result.text:
        start, end = result.span(0, len(result.text))
        assert 0 <= start < end <= len(typed)

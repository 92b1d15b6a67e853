"""What a person typed -> plain lower-case letters that rules can read, with a map back to the original characters."""

import unicodedata
from dataclasses import dataclass

# Letters of other scripts that look Latin. Folded only inside a word that also holds Latin letters, so that Russian stays Russian.
_LOOKALIKES = dict(zip("асеорхуѕіјһԁԛԝѵαεικνορτυχκмнвт", "aceopxysijhdqwvaeiknoptuxkmhbt", strict=True))
_APOSTROPHES = "\u2018\u2019\u02bc\u2032\u0060\u00b4\uff07"


@dataclass(frozen=True, slots=True)
class PlainText:
    """Plain text and where each of its characters stands in the original: `original[offsets[i]]` gave `text[i]`."""

    text: str
    offsets: tuple[int, ...]
    original: str

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Offsets in the original of the plain characters `start` to `end` (end excluded, at least one character)."""
        return self.offsets[start], self.offsets[end - 1] + 1


def clean(text: str) -> str:
    """Text that models and databases take: a lone surrogate or a NUL becomes a replacement character, one for one, so offsets hold."""
    return "".join("\ufffd" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in text)


def plain(text: str) -> PlainText:
    """Lower-case, without accents, invisible characters, look-alikes and decorations; line breaks are kept.

    Never fails: a NUL, a lone surrogate or a direction mark is taken for what it is, a space or nothing.
    """
    if text.isascii() and text.isprintable():  # most of what is typed, and all of the lexicon
        return PlainText(text.lower().replace("`", "'"), tuple(range(len(text))), text)
    letters: list[str] = []
    offsets: list[int] = []
    for position, character in enumerate(text):
        for letter in _plain_character(character):
            letters.append(letter)
            offsets.append(position)
    _fold_lookalikes(letters)
    return PlainText("".join(letters), tuple(offsets), text)


def _plain_character(character: str) -> str:
    if character in _APOSTROPHES:
        return "'"
    if character in "\r\n\u2028\u2029":
        return "\n"
    if character.isascii() and character.isprintable():
        return character.lower()
    if unicodedata.category(character) == "Cf":
        return ""
    if unicodedata.category(character)[0] in "CZ":
        return " "
    decomposed = unicodedata.normalize("NFKD", character)
    # A degree sign or an emoji has no plain form: it is kept as itself.
    return "".join(c for c in decomposed if not unicodedata.combining(c)).lower()


def _fold_lookalikes(letters: list[str]) -> None:
    start = 0
    while start < len(letters):
        end = start
        while end < len(letters) and letters[end].isalpha():
            end += 1
        if any(c.isascii() for c in letters[start:end]) and not all(c.isascii() for c in letters[start:end]):
            letters[start:end] = [_LOOKALIKES.get(c, c) for c in letters[start:end]]
        start = max(end, start) + 1

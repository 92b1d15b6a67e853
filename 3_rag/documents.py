"""Knowledge documents of many formats -> one typed shape; what cannot be read is reported and passed over, never fatal.

Reads Markdown, text, HTML, PDF, MedQuAD and MedlinePlus XML in folders, files and zips (in memory, one member at a
time), and question-answer data sets of the Hub. Documents are other people's data: every text is cleaned of markup, of
the special tokens of language models and of unseen characters.
"""

import hashlib
import io
import json
import logging
import os
import re
import stat
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import astuple, dataclass
from functools import cache, partial
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Literal, get_args
from xml.etree.ElementTree import Element, ParseError
from zipfile import BadZipFile, ZipFile, ZipInfo

import yaml
from defusedxml import DefusedXmlException, ElementTree  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from bs4 import BeautifulSoup
    from bs4.element import PageElement
    from markdown_it import MarkdownIt
    from pdfplumber.page import Page

Format = Literal["auto", "markdown", "text", "pdf", "html", "medquad", "medlineplus"]

_MB = 2**20
_TEXT_LIMIT, _FILE_LIMIT = 20 * _MB, 50 * _MB  # of one file, unpacked
_RATIO_LIMIT = 200  # unpacked to packed; text packs 3 to 10 times smaller, a bomb a thousand times
_FRONT_MATTER_LIMIT = 64 * 1024
# Names of files about a collection, which are no part of it.
_ABOUT = {"readme", "license", "licence", "copying", "notice", "changelog", "contributing"}

_BREAKS = re.compile("\r\n?|[\v\f\x1c-\x1e\x85\u2028\u2029]")
# Control and format characters (soft hyphens, zero widths, direction marks, tags that hide words) and lone surrogates.
_UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f]")
_SPECIAL_TOKENS = re.compile(
    r"<[|｜][^\n]{0,40}?[|｜]>|</?s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|<(?:bos|eos|pad|unk)>", re.I
)
_BULLET = re.compile("(?:[-*+•·▪◦‣∙●○■□\uf0b7\uf0a7] +)+")

# Marks put into a page before its text is taken out; `_UNSEEN` and `_BREAKS` keep them out of what is read.
_LINE, _HEADING, _SOFT_BREAK = "\x1e", "\x1d", "\x1c"
_HEADINGS = ["h1", "h2", "h3"]
_DROPPED = {"title", "script", "style", "nav", "footer", "template", "noscript", "iframe", "object", "svg"}
_BLOCKS = re.compile(
    "address|article|aside|blockquote|body|br|caption|d[dlt]|details|div|fieldset|fig.*|form|h[4-6r]|header|"
    "li|main|[ou]l|option|p|pre|section|summary|t[dhr]|table"
)


@dataclass(frozen=True, slots=True)
class Section:
    """A titled part: plain text, its sentences and bullets as written, bullet marks and empty lines left out."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """One document. `collection` and `source` together identify it; `url` is its first source address, or empty."""

    collection: str
    source: str
    title: str
    url: str
    sections: tuple[Section, ...]
    synonyms: tuple[str, ...] = ()
    category: str = ""
    licence: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 in hexadecimal over every field: equal digests index alike."""
        return hashlib.sha256(json.dumps(astuple(self)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file, zip member or row that was not read, and why."""

    source: str
    reason: str


def read_documents(path: Path, form: Format = "auto") -> Iterator[Document | Skipped]:
    """The documents of a folder (recursive, sorted by path), a file or a .zip.

    `auto` goes by file ending, and for XML by content. A named format reads a file whatever its ending; in folders and
    zips it takes the files with that format's endings. Hidden files are passed over.
    Raises FileNotFoundError for a missing path, ValueError for an unknown format.
    """
    if form not in get_args(Format):
        raise ValueError(f"Unknown format {form!r}: use one of {', '.join(get_args(Format))}.")
    if not path.exists():
        raise FileNotFoundError(f"There is no {path}. Check the path: a folder, a file or a .zip of documents.")
    return _documents(path, form)


def read_hub(name: str) -> Iterator[Document | Skipped]:
    """The answered questions of a Hub data set (or a local one that `datasets` loads), all its splits.

    Needs the columns question and answer; uses document_url, question_focus, question_type and synonyms where present.
    Raises FileNotFoundError if the data set cannot be loaded, ValueError if a needed column is missing.
    """
    import datasets

    try:
        loaded = datasets.load_dataset(name)
    except Exception as error:
        raise FileNotFoundError(
            f"Could not load the data set {name!r}: {_line(str(error))[:300]}. "
            "Check its name and the network; a private one needs HF_TOKEN."
        ) from error
    splits = list(loaded.values())
    for split in splits:
        if not {"question", "answer"} <= set(split.column_names):
            raise ValueError(
                f"The data set {name!r} needs the columns question and answer; it has {', '.join(split.column_names)}."
            )
    rows = (dict(row, licence=split.info.license or "") for split in splits for row in split)
    return (item for number, row in enumerate(rows) for item in _row(row, _Origin(name, f"{name}#{number}")))


# --- text ---


class _UnreadableError(Exception):
    """A file that cannot be read; the message is the reason given to the person."""


def _plain(text: str) -> str:
    """NFC, line ends as newlines, without unseen characters and special tokens.

    A token leaves a space, so that its removal cannot make another.
    """
    return _SPECIAL_TOKENS.sub(" ", unicodedata.normalize("NFC", _UNSEEN.sub("", _BREAKS.sub("\n", text))))


def _line(text: str) -> str:
    return " ".join(_plain(text).split())


def _name(source: str) -> str:
    return _plain(source).replace("\n", " ")


def _lines(text: str) -> str:
    """Cleaned lines, without bullet marks; lines that say nothing (rules, lone marks) are left out."""
    lines = (_BULLET.sub("", " ".join(line.split()), count=1) for line in _plain(text).split("\n"))
    return "\n".join(line for line in lines if any(c.isalnum() for c in line))


def _unwrap(text: str) -> str:
    """Joins lines broken at a page's width, so that sentences are whole; bullets, table rows and short lines stay."""
    parts: list[str] = []
    last = ""
    for line in map(str.strip, text.split("\n")):
        open_end = len(last) >= 40 and last[-1] not in ".!?:;|" and " | " not in last
        if open_end and line and not _BULLET.match(line) and (line[0].islower() or len(last) >= 60):
            parts.append("" if last.endswith("-") else " ")
        else:
            parts.append("\n")
        parts.append(line)
        last = line
    return "".join(parts[1:])


def _url(address: str) -> str:
    """The address if it is a web page's, else nothing: no javascript:, no file:, no blanks or brackets."""
    address = _plain(address).strip()
    return address if re.fullmatch(r"https?://[^\s<>\"]+", address, re.I) else ""


def _decode(data: bytes) -> str:
    """UTF-8 or, failing that, Windows-1252 (UTF-16 by its mark). Raises _UnreadableError for what is not text."""
    if data.startswith((b"%PDF-", b"PK\x03\x04", b"{\\rtf")):
        raise _UnreadableError("a PDF, zip or RTF file under another ending: rename it, or save it as text")
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    for encoding in ("utf-16",) if wide else ("utf-8-sig", "cp1252"):
        unicode = encoding != "cp1252"
        with suppress(UnicodeDecodeError):
            text = data.decode(encoding, "surrogatepass" if unicode else "strict")
            if len(_CONTROLS.findall(text)) <= len(text) // (10 if unicode else 1000):  # more of them: binary
                return _plain(text)
    raise _UnreadableError("not text in UTF-8 or Windows-1252: if it is text, save it as UTF-8")


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where a document comes from."""

    collection: str
    source: str

    @property
    def name(self) -> str:
        """A title for a document that has none: its file's name."""
        return re.sub("[-_]+", " ", PurePosixPath(self.source).stem)

    def document(
        self,
        title: str,
        sections: Iterable[tuple[str, str]],
        *,
        item: str = "",
        url: str = "",
        synonyms: Iterable[str] = (),
        category: str = "",
        licence: str = "",
    ) -> Document | Skipped:
        """The document, cleaned, or why it is none. `item` tells apart the documents of one file."""
        source = _name(f"{self.source}#{item}" if item else self.source)
        kept = tuple(Section(_line(name), lines) for name, text in sections if (lines := _lines(text)))
        if not kept:
            return Skipped(source, "no text in it")
        names: dict[str, str] = {}
        for name in filter(None, map(_line, synonyms)):
            names.setdefault(name.casefold(), name)
        title = _line(title) or _line(self.name)
        return Document(
            _line(self.collection),
            source,
            title,
            _url(url),
            kept,
            tuple(names.values()),
            _line(category),
            _line(licence),
        )


# --- files ---


@dataclass(frozen=True, slots=True)
class _File:
    source: str
    open: Callable[[], IO[bytes]]


def _documents(path: Path, form: Format) -> Iterator[Document | Skipped]:
    named = path if path.name not in ("", "..") else path.resolve()
    collection = named.name if path.is_dir() else named.stem
    alone = path.is_file() and path.suffix.lower() != ".zip"
    for file in _files(path):
        if isinstance(file, Skipped):
            yield Skipped(_name(file.source), _line(file.reason))
        else:
            yield from _read(file, _Origin(collection, file.source), form, alone=alone)


def _read(file: _File, origin: _Origin, form: Format, *, alone: bool) -> list[Document | Skipped]:
    try:
        kind = _kind(PurePosixPath(file.source), form, alone=alone)
        return list(kind.read(_bytes(file, kind.limit), origin))
    except _UnreadableError as problem:
        reason = str(problem)
    except OSError as error:
        reason = error.strerror or str(error)
    except Exception as error:  # noqa: BLE001 - parsers of broken files fail in any way; what they say is passed on
        reason = f"broken ({type(error).__name__}: {error})"
    return [Skipped(_name(file.source), _line(reason)[:300])]


def _bytes(file: _File, limit: int) -> bytes:
    """The file's content, never reading more than the limit, whatever size it claims to have."""
    with file.open() as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise _UnreadableError(f"over {limit // _MB} MB: split it into smaller files")
    if not data.strip():
        raise _UnreadableError("empty")
    return data


def _kind(file: PurePosixPath, form: Format, *, alone: bool) -> "_Kind":
    if alone and form != "auto":
        return _KINDS[form]
    if not alone and file.stem.lower() in _ABOUT:
        raise _UnreadableError("about the collection, not part of it")
    for name, kind in _KINDS.items():
        if file.suffix.lower() in kind.endings and form in ("auto", name):
            return kind
    known = " ".join(e for name, kind in _KINDS.items() if form in ("auto", name) for e in kind.endings)
    raise _UnreadableError(f"its ending is not one of {known}: rename or convert it, or read it alone with --format")


def _files(path: Path) -> Iterator[_File | Skipped]:
    if path.is_dir():
        yield from _walk(path)
    elif path.suffix.lower() == ".zip":
        yield from _unzip(path)
    else:
        yield _File(path.name, partial(io.FileIO, path))


def _walk(root: Path) -> Iterator[_File | Skipped]:
    found: list[Path] = []
    unreadable: list[OSError] = []
    for folder, folders, names in os.walk(root, onerror=unreadable.append):
        folders[:] = [name for name in folders if not _hidden(name)]
        found += [Path(folder, name) for name in (*names, *folders) if not _hidden(name)]
    yield from (Skipped(os.path.relpath(e.filename, root), e.strerror or "cannot be opened") for e in unreadable)
    for path in sorted(found):
        source = path.relative_to(root).as_posix()
        try:
            yield from _entry(path, source, root)
        except OSError as error:
            yield Skipped(source, error.strerror or str(error))


def _entry(path: Path, source: str, root: Path) -> Iterator[_File | Skipped]:
    if path.is_symlink() and not _leads_inside(path, root):
        yield Skipped(source, "a link that leads out of the folder, or nowhere")
    elif path.is_file() and path.suffix.lower() == ".zip":
        yield from _unzip(path, f"{source}/")
    elif path.is_file():
        yield _File(source, partial(io.FileIO, path))
    elif not path.is_dir():
        yield Skipped(source, "not a regular file")


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _leads_inside(link: Path, root: Path) -> bool:
    try:
        return link.resolve(strict=True).is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # a loop, or a target that is not there
        return False


def _unzip(path: Path, prefix: str = "") -> Iterator[_File | Skipped]:
    """The members of a zip, sorted by name, none of them written to disk."""
    own_name = prefix.rstrip("/") or path.name
    try:
        archive = ZipFile(path)
    except (BadZipFile, OSError, NotImplementedError, ValueError) as error:
        yield Skipped(own_name, f"not a zip that can be read ({error})")
        return
    with archive:
        members = sorted((m for m in archive.infolist() if not m.is_dir()), key=lambda m: m.filename)
        # Checked on the whole as well, since members may overlap and each look harmless.
        if sum(m.file_size for m in members) > _RATIO_LIMIT * path.stat().st_size:
            yield Skipped(own_name, f"unpacks to over {_RATIO_LIMIT} times its size: refused as a zip bomb")
            return
        seen: set[str] = set()
        for member in members:
            name = member.filename.replace("\\", "/")
            if reason := _refusal(member, name, seen):
                yield Skipped(prefix + name, reason)
            elif not any(map(_hidden, PurePosixPath(name).parts)):
                yield _File(prefix + PurePosixPath(name).as_posix(), partial(archive.open, member))
            seen.add(name)


def _refusal(member: ZipInfo, name: str, seen: set[str]) -> str:
    """Why a zip member is not read, or nothing."""
    if name.startswith("/") or re.match("[A-Za-z]:", name) or ".." in name.split("/"):
        return "its path leads out of the zip: refused"
    if name in seen:
        return "a second member of the same name"
    if member.flag_bits & 1:
        return "encrypted: unpack it with its password, and name the folder"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "a symbolic link: refused"
    if member.file_size > _FILE_LIMIT:
        return f"over {_FILE_LIMIT // _MB} MB unpacked: split it into smaller files"
    if member.file_size > _RATIO_LIMIT * member.compress_size:
        return f"unpacks to over {_RATIO_LIMIT} times its size: refused as a zip bomb"
    return "a zip in a zip: unpack it first" if name.lower().endswith(".zip") else ""


# --- Markdown, text, HTML, PDF ---


def _read_markdown(data: bytes, origin: _Origin) -> Iterator[Document | Skipped]:
    meta, body = _front_matter(_decode(data))
    soup = _soup(_markdown().render(body))
    heading = soup.find(["h1", "h2", "h3", "h4", "h5", "h6"])
    title = _value(meta, "title") or (heading.get_text() if heading else origin.name)
    yield origin.document(
        title,
        _page_sections(soup, title),
        url=_first_url(meta),
        synonyms=_values(meta, "synonyms"),
        category=_value(meta, "category"),
        licence=_value(meta, "licence") or _value(meta, "license"),
    )


@cache
def _markdown() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"maxNesting": 100}).enable(["table", "strikethrough"])
    # Every link is read as a link, javascript: too, so that only its words are kept.
    parser.validateLink = lambda url: True  # type: ignore[method-assign]
    parser.add_render_rule("softbreak", lambda *_: _SOFT_BREAK)
    return parser


def _front_matter(text: str) -> tuple[Mapping[str, Any], str]:
    """The YAML between two `---` lines at the top, every scalar as text, and what follows it."""
    if not re.match(r"---[ \t]*\n", text):
        return {}, text
    parts = re.split(r"^---[ \t]*$", text, maxsplit=2, flags=re.M)
    if len(parts) < 3 or len(parts[1]) > _FRONT_MATTER_LIMIT:
        raise _UnreadableError("front matter: no closing line `---` near its start")
    try:
        # The pure Python loader: the C one crashes the process on deep nesting.
        # BaseLoader makes nothing but text, lists and mappings.
        meta = yaml.load(parts[1], Loader=yaml.BaseLoader)  # noqa: S506
    except (yaml.YAMLError, RecursionError) as error:
        raise _UnreadableError(f"front matter: not YAML ({error})") from error
    if not isinstance(meta, dict | None):
        raise _UnreadableError("front matter: needs lines of `name: value`")
    return meta or {}, parts[2]


def _value(meta: Mapping[str, Any], key: str) -> str:
    value = meta.get(key, "")
    if not isinstance(value, str):
        raise _UnreadableError(f"front matter: {key} must be text, in quotes if it holds brackets or a colon")
    return value


def _values(meta: Mapping[str, Any], key: str) -> list[str]:
    value = meta.get(key, "")
    values = value.split(",") if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        raise _UnreadableError(f"front matter: {key} must be a list of words, such as [flu, influenza]")
    return values


def _first_url(meta: Mapping[str, Any]) -> str:
    sources = meta.get("sources", ())
    entries = [*sources, meta] if isinstance(sources, list) else [sources, meta]
    addresses = (entry.get("url") if isinstance(entry, dict) else entry for entry in entries)
    return next((url for a in addresses if isinstance(a, str) and (url := _url(a))), "")


def _read_text(data: bytes, origin: _Origin) -> Iterator[Document | Skipped]:
    yield origin.document(origin.name, [("", _unwrap(_decode(data)))])


def _read_html(data: bytes, origin: _Origin) -> Iterator[Document | Skipped]:
    soup = _soup(_decode(data))
    titles = (tag.get_text() for tag in [soup.select_one("title:not(svg title)"), soup.h1] if tag)
    title = next(filter(str.strip, titles), origin.name)
    canonical = soup.select_one('link[rel="canonical"]')
    yield origin.document(title, _page_sections(soup, title), url=str(canonical.get("href", "")) if canonical else "")


def _soup(markup: str) -> "BeautifulSoup":
    from bs4 import BeautifulSoup

    # html.parser takes quadratic time over comments and tags that never end.
    markup = re.sub(r"<!--.*?(?:-->|\Z)", " ", markup, flags=re.S)
    closed, end, rest = markup.rpartition(">")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # bs4 warns of pages that look like XML, addresses or file names
        return BeautifulSoup(closed + end + rest.replace("<", "&lt;"), "html.parser")


def _page_sections(soup: "BeautifulSoup", title: str) -> list[tuple[str, str]]:
    """Name and text of the part under each heading; the part above the first, and that under the title, has no name."""
    sections: list[tuple[str, list[str]]] = [("", [])]
    for line in "".join(_marked(soup)).split(_LINE):
        if line.startswith(_HEADING):
            name = _line(line.removeprefix(_HEADING))
            name = "" if name == _line(title) else name
            if name or sections[-1][0]:
                sections.append((name, []))
        else:
            sections[-1][1].append(_unwrap(line.replace(_SOFT_BREAK, "\n")))
    return [(name, "\n".join(lines)) for name, lines in sections]


def _marked(soup: "BeautifulSoup") -> Iterator[str]:
    """The page's text, with marks where lines end and headings start. A heading or a plain table row is one line."""
    from bs4.element import NavigableString, Tag

    layout = _layout_rows(soup)
    muted = verbatim = cells = 0
    flat: Tag | None = None
    for node, opens in _events(soup):
        if not isinstance(node, Tag):
            if (
                opens and not muted and type(node) is NavigableString
            ):  # its subclasses are comments, scripts and declarations
                yield node.replace("\n", _LINE) if verbatim else re.sub(r"[ \t\n\r\xa0]+", " ", node)
            continue
        heading = node.name in _HEADINGS
        if node.name in _DROPPED or node.has_attr("hidden"):
            muted += 1 if opens else -1
        elif flat is None and (heading or (node.name == "tr" and id(node) not in layout)):
            flat, cells = node, 0
            yield _LINE + (_HEADING if heading else "")
        elif node is flat:
            flat = None
            yield _LINE
        elif flat is not None and node.name in ("td", "th"):
            cells += opens
            yield " | " if opens and cells > 1 else " "
        elif _BLOCKS.fullmatch(node.name):
            verbatim += (node.name == "pre") * (1 if opens else -1)
            yield " " if flat is not None else _LINE


def _layout_rows(soup: "BeautifulSoup") -> set[int]:
    """The table rows (by id) that only lay out a page: they hold tables, lists or headings."""
    found: set[int] = set()
    rows: list[int] = []
    for node, opens in _events(soup):
        name = getattr(node, "name", None)
        if rows and opens and name in ("table", "tr", "li", *_HEADINGS):
            found.add(rows[-1])
        if name == "tr":
            rows.append(id(node)) if opens else rows.pop()
    return found


def _events(soup: "BeautifulSoup") -> Iterator[tuple["PageElement", bool]]:
    """Every node as it opens (True) and as it closes (False), without recursion."""
    path: list[PageElement] = [soup]
    for node in soup.descendants:
        while path[-1] is not node.parent:
            yield path.pop(), False
        yield node, True
        path.append(node)


def _read_pdf(data: bytes, origin: _Origin) -> Iterator[Document | Skipped]:
    import pdfplumber
    from pdfminer.pdfdocument import PDFPasswordIncorrect
    from pdfplumber.utils.exceptions import PdfminerException

    logging.getLogger("pdfminer").setLevel(logging.ERROR)  # it warns of every oddity that it copes with
    try:
        pdf = pdfplumber.open(io.BytesIO(data))
    except PdfminerException as error:
        if error.args and isinstance(error.args[0], PDFPasswordIncorrect):
            raise _UnreadableError("asks for a password: save a copy without one") from error
        raise
    with pdf:
        title = _line(str(pdf.metadata.get("Title") or ""))
        if re.match(r"untitled|\(anonymous\)|microsoft word|$", title, re.I):
            title = origin.name
        document = origin.document(title, [(f"Page {n}", _pdf_page(page)) for n, page in enumerate(pdf.pages, 1)])
    yield (
        Skipped(document.source, "no text in it: a scanned PDF needs OCR first")
        if isinstance(document, Skipped)
        else document
    )


def _pdf_page(page: "Page") -> str:
    """The text outside tables, then the tables, a row a line."""
    tables = [table for table in page.find_tables() if len(table.rows) > 1 and len(table.columns) > 1]
    boxes = [table.bbox for table in tables]

    def outside(thing: Mapping[str, Any]) -> bool:
        x, y = (thing["x0"] + thing["x1"]) / 2, (thing["top"] + thing["bottom"]) / 2
        return not any(x0 <= x <= x1 and top <= y <= bottom for x0, top, x1, bottom in boxes)

    text = _unwrap(page.filter(outside).extract_text())
    rows = [" | ".join(_line(cell or "") for cell in row) for table in tables for row in table.extract()]
    page.close()
    return re.sub(r"\(cid:\d+\)", "", "\n".join([text, *rows]))


# --- XML and the Hub ---


def _read_xml(data: bytes, origin: _Origin) -> Iterator[Document | Skipped]:
    """MedQuAD or MedlinePlus, by the root element."""
    root = _xml(data)
    return (_medlineplus if root.tag in ("health-topics", "health-topic") else _medquad)(root, origin)


def _xml(data: bytes) -> Element:
    try:
        return ElementTree.fromstring(data)  # type: ignore[no-any-return]
    except ParseError as error:
        raise _UnreadableError(f"not well-formed XML ({error})") from error
    except DefusedXmlException as error:
        raise _UnreadableError("declares XML entities: refused, as they can hide files or bombs") from error


def _elements(root: Element, *names: str) -> Iterator[Element]:
    return (element for element in root.iter() if element.tag.lower() in names)


def _content(root: Element, name: str) -> str:
    """The text of the first element of that name, or nothing."""
    return next(("".join(element.itertext()).strip() for element in _elements(root, name)), "")


def _medquad(root: Element, origin: _Origin) -> Iterator[Document | Skipped]:
    """One document a question that has an answer. A few real files spell their tags another way (doc, pair, answer)."""
    if root.tag.lower() not in ("document", "doc", "diseasefile"):
        raise _UnreadableError(f"XML with the root <{root.tag}>: neither MedQuAD nor MedlinePlus health topics")
    synonyms = ["".join(element.itertext()) for element in _elements(root, "focus", "doctitle-focus", "synonym")]
    for number, pair in enumerate(_elements(root, "qapair", "pair"), 1):
        question = next(_elements(pair, "question"), Element("question"))
        answer = re.sub(r"[ \t]{2,}- ", "\n- ", _content(pair, "answer"))  # its lists were run into one line
        if answer:
            yield origin.document(
                _content(pair, "question"),
                [(question.get("qtype", ""), _unwrap(answer))],
                item=question.get("qid") or str(number),
                url=root.get("url", ""),
                synonyms=synonyms,
                licence="CC BY 4.0",
            )


def _medlineplus(root: Element, origin: _Origin) -> Iterator[Document | Skipped]:
    """One document an English topic. Summaries are in the public domain; MedlinePlus asks to be named as the source."""
    for number, topic in enumerate(_elements(root, "health-topic"), 1):
        if topic.get("language", "English") == "English":
            title = topic.get("title", "")
            yield origin.document(
                title,
                _page_sections(_soup(_content(topic, "full-summary")), title),
                item=topic.get("id") or str(number),
                url=topic.get("url", ""),
                synonyms=["".join(element.itertext()) for element in _elements(topic, "also-called")],
                category=_content(topic, "group"),
                licence="public domain (MedlinePlus, National Library of Medicine)",
            )


def _row(row: Mapping[str, Any], origin: _Origin) -> Iterator[Document | Skipped]:
    """A data set's row as a document; nothing where it has no answer."""
    field = {key: value if isinstance(value, str) else "" for key, value in row.items()}
    if not field["answer"].strip():
        return
    if not field["question"].strip():
        yield Skipped(_name(origin.source), "an answer without a question")
        return
    listed = row.get("synonyms")
    synonyms = map(str, listed) if isinstance(listed, list) else field.get("synonyms", "").split("|")
    yield origin.document(
        field["question"],
        [(field.get("question_type", ""), _unwrap(field["answer"]))],
        url=field.get("document_url", ""),
        synonyms=[field.get("question_focus", ""), *synonyms],
        licence=field["licence"],
    )


@dataclass(frozen=True, slots=True)
class _Kind:
    read: Callable[[bytes, _Origin], Iterator[Document | Skipped]]
    limit: int
    endings: tuple[str, ...]


_KINDS: Mapping[Format, _Kind] = {
    "markdown": _Kind(_read_markdown, _TEXT_LIMIT, (".md", ".markdown")),
    "text": _Kind(_read_text, _TEXT_LIMIT, (".txt", ".text")),
    "pdf": _Kind(_read_pdf, _FILE_LIMIT, (".pdf",)),
    "html": _Kind(_read_html, _TEXT_LIMIT, (".html", ".htm", ".xhtml")),
    "medquad": _Kind(_read_xml, _FILE_LIMIT, (".xml",)),
    "medlineplus": _Kind(_read_xml, _FILE_LIMIT, (".xml",)),
}

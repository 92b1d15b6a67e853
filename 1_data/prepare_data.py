"""Step 1: turn ChatDoctor conversations into clean chat-format training data, with a report of what was done to them.

Reads:  the Hub data set avaliev/chat_doctor, or --source FILE|DIR (json, jsonl, csv, parquet); columns: input, output.
Writes: 1_data/processed/train.jsonl, valid.jsonl, test.jsonl, report.md and report.json.
Run:    python 1_data/prepare_data.py --samples 5000
"""

import argparse
import hashlib
import html
import json
import os
import random
import re
import sys
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from datasketch import MinHash, MinHashLSH
from numpy.typing import NDArray
from tqdm import tqdm

from prompts import SYSTEM
from screen import violations
from settings import ROOT, get_settings

HUB_DATASET = "avaliev/chat_doctor"
COLUMNS = ("input", "output")
READERS = {".json": "json", ".jsonl": "json", ".csv": "csv", ".parquet": "parquet"}
SPLITS = ("train", "valid", "test")
HELD_OUT = 0.1  # share of the rows in each of valid and test

MIN_QUESTION_WORDS = 4
MIN_ANSWER_WORDS = 8
SAME_GROUP = 0.7  # questions that share this much of their words go to the same split
NEAR_DUPLICATE = 0.8  # and where question and answer both share this much, the later row is dropped
# 12 bands of 5 rows: two questions that share 0.7 / 0.8 / 0.9 of their words meet with probability 0.89 / 0.99 / 1.00.
BANDS, BAND_ROWS = 12, 5
EXAMPLES = 3  # shown in the report for each rule

# What a row can be dropped for, in the order of the checks; the first that applies is the one counted.
RULES = {
    "empty": "the question or the answer is empty",
    "short": f"the question has fewer than {MIN_QUESTION_WORDS} words or the answer fewer than {MIN_ANSWER_WORDS}",
    "damaged": "mojibake or markup that cannot be mended, or a leaked generation prompt",
    "truncated": "the answer stops in the middle of a sentence",
    "personal": "an e-mail address, a phone number, a web address or a name (found by pattern; some will be missed)",
    "dose": "the answer gives a dose",
    "diagnosis": "the answer states a diagnosis as a fact",
    "reassurance": "the answer reassures where it cannot know",
    "duplicate": "the same question and answer as an earlier row",
    "near duplicate": f"question and answer each share {NEAR_DUPLICATE:.0%} of their words with an earlier row's",
}
EDITS = {
    "mended": "mojibake, HTML entities, tags or white space put right",
    "run-on": "the answer cut where it went on with the patient's next turn or a note of its generator",
    "greeting": "greeting, thanks, sign-off or address ('Doctor, ...') removed",
    "brand": "sentence that names the service it came from removed",
}

_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>")
# The bytes of a UTF-8 character beyond ASCII, each read as Windows-1252.
_MOJIBAKE = re.compile(
    r"[\u00c2\u00c3\u00e2\u00f0]"
    r"[\u0080-\u00ff\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122]{1,3}"
)
_DAMAGED = re.compile(
    r"\ufffd|\u00e2\u20ac|\?\?[a-z]|\b(?:it|that|what|there|I|you|we|they|don|can|won|\w+n)\?\?|"
    r"\[/?INST\]|<\|[a-z_]+\|>|please generate a dialogue|following disease and symptoms",
    re.I,
)
_RUN_ON = re.compile(
    r"\s*(?:\b(?:patient|user)\s?:|\(\s?(?:end of|patient|doctor|conversation|note\b|(?:the|this) response)[^)]*\)?).*",
    re.I | re.S,
)
_SPEAKER = re.compile(r"^\s*(?:doctor|patient|assistant|response|answer)\s?:\s*", re.I)
_DOCTOR = r"(?:dr\.?|doctors?|doc)"
_GREETING = re.compile(
    r"^(?:"
    r"(?:hi|hello|hey|dear|greetings|good (?:morning|afternoon|evening|day))(?: there)?"
    rf"(?:,? (?:{_DOCTOR}|sir|madam|friend|user|patient|everyone|dear))*\s*[,.!:-]+|"
    rf"(?:hi|hello|hey) {_DOCTOR}\b|"
    rf"{_DOCTOR}\s*(?:[,.!]+|(?=I\b))|"
    r"welcome (?:to|back)\b[^.!]*[.!]|"
    r"thanks?(?: you)?(?: very much| a lot)?(?: for [^.!]*)?[.!]|"
    r"i (?:have |had )?(?:gone|went|read|reviewed) (?:through |carefully |over )*(?:your|the) [^.!]*[.!]"
    r")\s*",
    re.I,
)
_SIGN_OFF = re.compile(
    r"\s*\b(?:"
    r"wish(?:ing)? you (?:good|all|a|the|an|well)\b|"
    r"(?:i )?hope (?:this|that|i|my|it) (?:help|answer|ha[sv]|will|information|was|clarif)\w*|"
    r"(?:please )?(?:do )?(?:feel free to|get back to me|let me know if|write back|revert)|"
    r"thanks?(?: you)?|take care"
    r")\b[^.!?]*[.!?]*$|"
    r"(?:^|(?<=[.!?,]))\s*(?:with )?(?:(?:best|warm|kind) )?(?:regards|yours (?:truly|sincerely))\b(?! to\b).{0,60}$",
    re.I,
)
_BRAND = re.compile(r"\b(?:chat ?doctor|health ?care ?magic|hcm|i ?cliniq|web ?md|health ?tap)\b", re.I)
_PERSONAL = re.compile(
    r"[\w.+-]+@[\w-]+\.\w+|https?://|www\.\w|\+?\d[\d\s().-]{8,}\d|"
    r"(?:[Mm]y name is|I am called|\b[Dd][Rr]\.?)\s+[A-Z][a-z]+"
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_ENDS_WELL = re.compile(r"[.!?][\"'\u201d\u2019)\]]*$")


class Stop(Exception):  # noqa: N818
    """What the user has to know or do before this step can go on; printed as one line."""


class Pair(NamedTuple):
    """A cleaned question and answer, what was edited, and the rule that drops it, if one does."""

    question: str
    answer: str
    edits: frozenset[str]
    dropped_by: str | None


@dataclass
class Source:
    """Where the rows come from. `rows` is a memory-mapped `datasets.Dataset`."""

    rows: Any
    name: str
    revision: str


@dataclass
class Sifted:
    """The row numbers that stay, each with its group (rows of one group share a split), and the account of the rest."""

    groups: dict[int, int] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    edited: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


# -- Reading


def read_source(source: Path | None, revision: str, cache: str) -> Source:
    """Read the rows from the Hub, or from a file or folder.

    Args:
        source: File or folder; None means the Hub.
        revision: Branch, tag or commit of the Hub data set.
        cache: Folder for the memory-mapped copy of a local source; it must live as long as the rows are read.

    Raises:
        Stop: The source cannot be reached or read, or lacks a column.
    """
    found = read_hub(revision) if source is None else read_files(source, cache)
    missing = [name for name in COLUMNS if name not in found.rows.column_names]
    if missing:
        raise Stop(
            f"{found.name} has no column {' and no '.join(missing)}; it has: {', '.join(found.rows.column_names)}. "
            "Rename the patient's text to input and the doctor's to output."
        )
    return found


def read_hub(revision: str) -> Source:
    """The Hub data set, all its splits together, at one commit."""
    from datasets import concatenate_datasets, load_dataset
    from huggingface_hub import HfApi
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # exported by a module __getattr__

    token = get_settings().hf_token
    secret = token.get_secret_value() if token else None
    try:
        # One short question first: load_dataset alone takes 25 s to give up on a hub that is out of reach.
        commit = HfApi(token=secret).dataset_info(HUB_DATASET, revision=revision, timeout=5).sha
        splits = load_dataset(HUB_DATASET, revision=commit, token=secret)
    except (httpx.HTTPError, OSError) as error:
        raise Stop(
            f"cannot read {HUB_DATASET} ({revision}) from the Hub ({first_line(error)}). "
            "Go on with a copy: python 1_data/prepare_data.py --source FILE_OR_FOLDER"
        ) from error
    return Source(concatenate_datasets(list(splits.values())), HUB_DATASET, str(commit))


def read_files(source: Path, cache: str) -> Source:
    """A file, or all files of one kind in a folder, as one data set; its revision is the hash of their bytes."""
    from datasets import load_dataset
    from datasets.exceptions import DatasetGenerationError

    if not source.exists():
        raise Stop(f"{source} does not exist. Give --source a file or a folder that does.")
    candidates = [source] if source.is_file() else sorted(source.rglob("*"))
    files = [path for path in candidates if path.suffix.lower() in READERS and path.is_file()]
    readers = sorted({READERS[path.suffix.lower()] for path in files})
    if len(readers) != 1:
        what = f"holds {' and '.join(readers)} files" if readers else f"has no {', '.join(READERS)} file"
        raise Stop(f"{source} {what}. Give --source one file, or a folder with files of one kind.")
    try:
        rows = load_dataset(readers[0], data_files=[str(path) for path in files], split="train", cache_dir=cache)
    except (DatasetGenerationError, ValueError, OSError) as error:
        reason = first_line(error.__cause__ or error)
        raise Stop(
            f"cannot read {source} as {readers[0]} ({reason}). Mend the file, or give another --source."
        ) from error
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return Source(rows, source.name, f"sha256:{digest.hexdigest()[:16]}")


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its kind where it has none."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


# -- Cleaning one row


def clean(row: dict[str, Any]) -> Pair:
    """Clean one row and judge it by every rule that needs no other row. Deterministic."""
    edits: set[str] = set()
    raw_question, raw_answer = (str(row[name] if row[name] is not None else "") for name in COLUMNS)
    question = without_courtesies(mend(raw_question, edits), edits)
    answer = _SPEAKER.sub("", mend(raw_answer, edits))
    if cut := _RUN_ON.search(answer):
        answer = answer[: cut.start()]
        edits.add("run-on")
    answer = without_courtesies(answer, edits)
    return Pair(question, answer, frozenset(edits), fault(question, answer))


def mend(text: str, edits: set[str]) -> str:
    """Undo HTML entities, tags and UTF-8 read as Windows-1252; one space between words."""
    mended = _TAG.sub(" ", html.unescape(text))
    mended = _MOJIBAKE.sub(lambda match: redecode(match.group()), mended).replace("\u00c2", " ").replace("\u00a0", " ")
    mended = re.sub(r"(?<=[a-z][.!?])(?=[A-Z][a-z]|[AI]\s)", " ", " ".join(mended.split()))
    mended = re.sub(r"\s+(?=[.,;:!?](?:\s|$))", "", mended)
    if mended != text.strip():
        edits.add("mended")
    return mended


def redecode(run: str) -> str:
    """A run of characters that looks like mojibake, read as the UTF-8 it was; unchanged if it was not."""
    try:
        return run.encode("cp1252").decode("utf-8")
    except UnicodeError:
        return run


def without_courtesies(text: str, edits: set[str]) -> str:
    """The text without greeting, thanks, sign-off, and sentences that name the service it came from."""
    if _BRAND.search(text):
        text = " ".join(sentence for sentence in sentences(text) if not _BRAND.search(sentence))
        edits.add("brand")
    before = text
    while (shorter := _SIGN_OFF.sub("", _GREETING.sub("", text)).strip()) != text:
        text = shorter
    if text != before:
        edits.add("greeting")
    return text[:1].upper() + text[1:]


def sentences(text: str) -> list[str]:
    """The sentences of a text, split at end marks."""
    return [sentence for sentence in _SENTENCE_END.split(text) if sentence]


def fault(question: str, answer: str) -> str | None:
    """The first rule that drops this pair by itself, or None."""
    if not question or not answer:
        return "empty"
    if len(question.split()) < MIN_QUESTION_WORDS or len(answer.split()) < MIN_ANSWER_WORDS:
        return "short"
    if _DAMAGED.search(question) or _DAMAGED.search(answer):
        return "damaged"
    if not _ENDS_WELL.search(answer):
        return "truncated"
    if _PERSONAL.search(question) or _PERSONAL.search(answer):
        return "personal"
    found = {violation.fault for sentence in sentences(answer) for violation in violations(sentence)}
    return next((rule for rule in RULES if rule in found), None)


# -- Duplicates and groups


def word_hashes(text: str) -> NDArray[np.uint32]:
    """The set of a text's words as sorted 32-bit hashes."""
    return np.unique(
        np.array([zlib.crc32(word.encode()) for word in re.findall(r"\w+", text.lower())], dtype=np.uint32)
    )


def jaccard(one: NDArray[np.uint32], other: NDArray[np.uint32]) -> float:
    """Shared words over all words of two texts: 0 to 1."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / max(1, len(one) + len(other) - shared)


class Question(NamedTuple):
    """What is compared of a question: the hashes of its words, and their MinHash."""

    words: NDArray[np.uint32]
    sketch: MinHash


class Groups:
    """Rows joined where their questions are alike or their answers the same, so that they can be kept in one split."""

    def __init__(self) -> None:
        self._parent: dict[int, int] = {}
        self._questions: dict[int, NDArray[np.uint32]] = {}
        self._answers: dict[bytes, int] = {}
        self._index = MinHashLSH(num_perm=BANDS * BAND_ROWS, params=(BANDS, BAND_ROWS))
        self._blank = MinHash(num_perm=BANDS * BAND_ROWS, seed=1, hashfunc=int)

    def question(self, text: str) -> Question:
        """A question in the form in which it is compared."""
        words, sketch = word_hashes(text), self._blank.copy()
        sketch.update_batch(words.tolist())
        return Question(words, sketch)

    def alike(self, question: Question) -> Iterator[tuple[int, float]]:
        """Earlier rows whose question shares at least SAME_GROUP of its words: (row number, share), in row order."""
        size = len(question.words)
        for row in sorted(self._index.query(question.sketch)):
            other = self._questions[row]
            # No more words can be shared than the shorter has: most candidates need no closer look.
            if SAME_GROUP * max(size, len(other)) > min(size, len(other)):
                continue
            if (share := jaccard(question.words, other)) >= SAME_GROUP:
                yield row, share

    def add(self, row: int, question: Question, answer: str, alike: Sequence[int]) -> None:
        """Add a row, joined with those it is alike to and with any that has the same answer."""
        self._parent[row] = row
        self._questions[row] = question.words
        self._index.insert(row, question.sketch, check_duplication=False)
        for other in {*alike, self._answers.setdefault(digest(answer), row)}:
            self._parent[self._group(other)] = self._group(row)

    def all(self) -> dict[int, int]:
        """Each row with its group, in the order in which they were added."""
        return {row: self._group(row) for row in self._parent}

    def _group(self, row: int) -> int:
        while self._parent[row] != row:
            self._parent[row] = self._parent[self._parent[row]]
            row = self._parent[row]
        return row


def digest(*texts: str) -> bytes:
    """A 16-byte fingerprint of texts, blind to case, punctuation and spacing."""
    plain = "\n".join(" ".join(re.findall(r"\w+", text.lower())) for text in texts)
    return hashlib.blake2b(plain.encode(), digest_size=16).digest()


def sift(rows: Any, keep_all: bool) -> Sifted:
    """Judge every row by every rule. With `keep_all` the rules are counted but only empty rows go."""
    result, groups, seen = Sifted(), Groups(), set[bytes]()

    def stays(rule: str | None) -> bool:
        return rule is None or (keep_all and rule != "empty")

    for number, row in enumerate(tqdm(rows, desc="Cleaning", unit=" rows", disable=None)):
        pair = clean(row)
        rule = pair.dropped_by
        result.edited.update(pair.edits)
        fingerprint = digest(pair.question, pair.answer)
        if rule is None and fingerprint in seen:
            rule = "duplicate"
        if stays(rule):
            question = groups.question(pair.question)
            alike = list(groups.alike(question))
            if rule is None and any(near(pair, clean(rows[n])) for n, share in alike if share >= NEAR_DUPLICATE):
                rule = "near duplicate"
            if stays(rule):
                seen.add(fingerprint)
                groups.add(number, question, pair.answer, [n for n, _ in alike])
        if rule:
            result.dropped[rule] += 1
            if len(result.examples[rule]) < EXAMPLES:
                result.examples[rule].append(f"{pair.question} -> {pair.answer}")
    result.groups = groups.all()
    return result


def near(one: Pair, other: Pair) -> bool:
    """Whether the answers of two pairs share NEAR_DUPLICATE of their words."""
    return jaccard(word_hashes(one.answer), word_hashes(other.answer)) >= NEAR_DUPLICATE


# -- Splitting and writing


def split(groups: dict[int, int], samples: int, seed: int) -> dict[str, list[int]]:
    """Draw up to `samples` rows, whole groups at a time, and share the groups out to train, valid and test."""
    members: dict[int, list[int]] = defaultdict(list)
    for row, group in groups.items():
        members[group].append(row)
    draw = random.Random(seed)  # noqa: S311  # a sample, not a secret
    shuffled = list(members.values())
    draw.shuffle(shuffled)
    total = min(samples, len(groups))
    held_out = max(1, round(total * HELD_OUT)) if total >= len(SPLITS) else 0
    shares: dict[str, list[int]] = {name: [] for name in SPLITS}
    left = total
    for rows_alike in shuffled:
        taken = rows_alike[:left]
        left -= len(taken)
        name = next((name for name in ("test", "valid") if len(shares[name]) + len(taken) <= held_out), "train")
        shares[name] += taken
    for name, rows in shares.items():
        if not rows:
            alike = f"{total:,} rows with {len(members):,} different questions"
            raise Stop(f"{name} would be empty: {alike} are too few to share out. Give more rows.")
        draw.shuffle(rows)
    return shares


def chat_lines(rows: Any, numbers: Sequence[int], name: str) -> Iterator[str]:
    """The rows as lines of chat-format JSON: system, user, assistant."""
    for number in tqdm(numbers, desc=f"Writing {name}", unit=" rows", disable=None):
        pair = clean(rows[number])
        messages = [("system", SYSTEM), ("user", pair.question), ("assistant", pair.answer)]
        chat = {"messages": [{"role": role, "content": content} for role, content in messages]}
        yield json.dumps(chat, ensure_ascii=False) + "\n"


def write(folder: Path, files: dict[str, Iterator[str]]) -> None:
    """Write all files under temporary names, then rename them together: a run that is cut short changes nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    staged = {folder / f".{name}.{os.getpid()}.tmp": folder / name for name in files}
    try:
        for path, lines in zip(staged, files.values(), strict=True):
            with path.open("w", encoding="utf-8") as stream:
                stream.writelines(lines)
        for path, target in staged.items():
            path.replace(target)
    finally:
        for path in staged:
            path.unlink(missing_ok=True)


# -- The report


def report(source: Source, sifted: Sifted, shares: dict[str, list[int]], args: argparse.Namespace) -> dict[str, Any]:
    """All that was done, as plain data: the same for the same input and options."""
    read = len(source.rows)
    kept = len(sifted.groups)
    return {
        "source": source.name,
        "revision": source.revision,
        "seed": args.seed,
        "samples": args.samples,
        "keep_all": args.keep_all,
        "rows": {"read": read, "kept": kept, "written": sum(map(len, shares.values()))},
        "dropped": {rule: sifted.dropped[rule] for rule in RULES},
        "edited": {edit: sifted.edited[edit] for edit in EDITS},
        "groups": len(set(sifted.groups.values())),
        "splits": {
            name: {"rows": len(rows), "groups": len({sifted.groups[row] for row in rows}), **lengths(source.rows, rows)}
            for name, rows in shares.items()
        },
        "examples": {rule: sifted.examples[rule] for rule in RULES if sifted.examples[rule]},
    }


def lengths(rows: Any, numbers: Sequence[int]) -> dict[str, dict[str, int]]:
    """Words in the questions and answers of some rows: median, 95th percentile, longest."""
    pairs = [clean(rows[number]) for number in numbers]
    result = {}
    for part, texts in (("question", [pair.question for pair in pairs]), ("answer", [pair.answer for pair in pairs])):
        counts = [len(text.split()) for text in texts] or [0]
        result[f"{part}_words"] = {
            "median": int(np.median(counts)),
            "p95": int(np.percentile(counts, 95)),
            "longest": max(counts),
        }
    return result


def markdown(facts: dict[str, Any]) -> Iterator[str]:
    """The report for people, fit to paste into a model card."""
    rows, samples = facts["rows"], facts["samples"]
    yield "# Training data report\n\n"
    yield f"Source: `{facts['source']}`, revision `{facts['revision']}`.\n"
    yield f"Seed {facts['seed']}, at most {samples:,} rows.\n"
    yield f"Read {rows['read']:,} rows, kept {rows['kept']:,}, wrote {rows['written']:,}.\n"
    if facts["keep_all"]:
        yield "\n**Filters off (`--keep-all`)**: the table says what they would have dropped; only empty rows went.\n"
    if rows["written"] < min(samples, rows["read"]):
        yield f"\nFewer than the {samples:,} rows asked for were left after cleaning.\n"
    elif rows["written"] < rows["kept"]:
        yield f"\n{rows['kept'] - rows['written']:,} clean rows were left out by the sample size.\n"
    yield "\n## Dropped\n\n| rule | rows | share | what it means |\n|---|---:|---:|---|\n"
    for rule, count in facts["dropped"].items():
        yield f"| {rule} | {count:,} | {count / max(1, rows['read']):.1%} | {RULES[rule]} |\n"
    yield "\n## Edited\n\nA row can have several edits, and can be dropped afterwards.\n\n"
    yield "| edit | rows | what it means |\n|---|---:|---|\n"
    for edit, count in facts["edited"].items():
        yield f"| {edit} | {count:,} | {EDITS[edit]} |\n"
    yield "\n## Splits\n\nRows whose questions are alike, or whose answers are the same, share a group, "
    yield f"and no group crosses splits ({facts['groups']:,} groups).\nWords: median / 95th percentile / longest.\n\n"
    yield "| split | rows | groups | words in a question | words in an answer |\n|---|---:|---:|---:|---:|\n"
    for name, share in facts["splits"].items():
        words = (" / ".join(map(str, share[f"{part}_words"].values())) for part in ("question", "answer"))
        yield f"| {name} | {share['rows']:,} | {share['groups']:,} | {' | '.join(words)} |\n"
    yield "\n## Examples of dropped rows\n"
    for rule, examples in facts["examples"].items():
        yield f"\n**{rule}**\n\n"
        yield from (f"- {example[:300]}\n" for example in examples)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Step 1: ChatDoctor conversations to clean chat-format training data.")
    parser.add_argument(
        "--source", type=Path, help="file or folder (json, jsonl, csv, parquet) to read instead of the Hub"
    )
    parser.add_argument("--revision", default="main", help=f"branch, tag or commit of {HUB_DATASET} (default: main)")
    parser.add_argument(
        "--samples", type=int, default=5000, help="most rows to write, all splits together (default: 5000)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample and the splits (default: 0)")
    parser.add_argument(
        "--keep-all", action="store_true", help="turn the filters off: count what they would drop, drop only empty rows"
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "1_data" / "processed", help="folder to write to (default: 1_data/processed)"
    )
    args = parser.parse_args(arguments)
    if args.samples < 1:
        parser.error(f"argument --samples: {args.samples} is not a number of rows; give 1 or more")
    return args


def prepare(args: argparse.Namespace, cache: str) -> str:
    """Do the step; returns what to tell the user at its end."""
    source = read_source(args.source, args.revision, cache)
    sifted = sift(source.rows, args.keep_all)
    if not sifted.groups:
        raise Stop(f"no row of {source.name} is left after cleaning. See what is in it with --keep-all.")
    shares = split(sifted.groups, args.samples, args.seed)
    facts = report(source, sifted, shares, args)
    files = {f"{name}.jsonl": chat_lines(source.rows, numbers, name) for name, numbers in shares.items()}
    files["report.json"] = iter([json.dumps(facts, indent=2, ensure_ascii=False), "\n"])
    files["report.md"] = markdown(facts)
    try:
        write(args.out, files)
    except OSError as error:
        raise Stop(f"cannot write to {args.out} ({error.strerror}). Choose another folder with --out.") from error
    sizes = ", ".join(f"{name} {len(numbers):,}" for name, numbers in shares.items())
    return f"Read {len(source.rows):,} rows, kept {len(sifted.groups):,}; wrote {sizes}. See {args.out / 'report.md'}."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the step; returns the exit code."""
    args = parse(arguments)
    get_settings()  # loads .env, which may say how to reach the Hub
    with TemporaryDirectory(prefix="mediassist-") as cache:
        try:
            print(prepare(args, cache))
        except Stop as error:
            print(f"prepare_data: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("prepare_data: stopped; nothing was written.", file=sys.stderr)
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

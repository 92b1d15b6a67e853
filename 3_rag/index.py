"""Step 4: knowledge documents -> a search index (Chroma for meaning, BM25 for words).

Reads    1_data/medical_docs/ (or --docs), and the index that serves now, whose vectors it keeps for unchanged documents
Writes   3_rag/chroma_db/ (INDEX_DIR): a new build, checked by querying it, then put in place in one rename
Run      python 3_rag/index.py
"""

import argparse
import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import bm25s
import numpy as np
from filelock import FileLock, Timeout
from tqdm import tqdm

from chunking import Chunk, cut, embedded
from document_terms import current_build, write_terms
from documents import Document, Format, Skipped, read_documents, read_hub
from models import Embedder, Vectors, embedder, embedder_identity
from search_index import (
    CHUNKING,
    COLLECTION,
    IndexProblem,
    Manifest,
    SearchIndex,
    lexical_tokens,
    open_chroma,
    read_manifest,
)
from settings import ROOT, get_settings

DEFAULT_DOCS = ROOT / "1_data" / "medical_docs"


def main(argv: Sequence[str] | None = None) -> int:
    """Build the index, or say in one line why not."""
    args = _arguments(argv)
    index_dir: Path = args.index.resolve()
    try:
        index_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(index_dir / "lock", timeout=0):
            return _build(index_dir, _read(args.docs, args.hub, args.format), rebuild=args.rebuild)
    except Timeout:
        return _fail(f"Another index run is at work in {index_dir}. Wait for it to end, then run this again.")
    except (IndexProblem, FileNotFoundError, ValueError) as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(
            f"Could not write the index to {index_dir}: {error.strerror or error}. Free some space, or name another folder with --index."
        )
    except KeyboardInterrupt:
        return _fail("Stopped. The index that served before still serves; run the same command to start again.")


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Build the search index from knowledge documents. Unchanged documents are not embedded again.",
        epilog="examples:\n  python 3_rag/index.py\n  python 3_rag/index.py --docs notes/ leaflets.zip\n  python 3_rag/index.py --docs medquad.zip --format medquad",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--docs",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="folders, files or .zip that replace the default set; each is one collection",
    )
    parser.add_argument(
        "--hub",
        action="append",
        default=[],
        metavar="NAME",
        help="add a Hugging Face data set of questions and answers, such as lavita/MedQuAD",
    )
    parser.add_argument(
        "--format", choices=get_args(Format), default="auto", help="how to read --docs (default: by file ending)"
    )
    parser.add_argument(
        "--index",
        type=Path,
        default=get_settings().index_dir,
        metavar="DIR",
        help="where the index lives (default: INDEX_DIR, %(default)s)",
    )
    parser.add_argument(
        "--rebuild", action="store_true", help="embed everything again and replace what is there, even if damaged"
    )
    return parser.parse_args(argv)


def _fail(message: str) -> int:
    print(message, file=sys.stderr)
    return 2


def _read(docs: Sequence[Path] | None, hubs: Sequence[str], form: Format) -> list[Document]:
    found: list[Document] = []
    sources: list[Iterable[Document | Skipped]] = [read_documents(path, form) for path in docs or [DEFAULT_DOCS]]
    sources += [read_hub(name) for name in hubs]
    for items in sources:
        for item in items:
            if isinstance(item, Skipped):
                print(f"skipped {item.source}: {item.reason}", file=sys.stderr)
            else:
                found.append(item)
    if not found:
        raise ValueError("No document could be read: nothing to index. Name a folder of documents with --docs.")
    return _unique(found)


def _key(document: Document) -> str:
    return f"{document.collection}/{document.source}"


def _unique(documents: list[Document]) -> list[Document]:
    """Two PATHs of the same name make one collection each, numbered."""
    seen: dict[str, int] = {}
    result = []
    for document in documents:
        key = _key(document)
        seen[key] = seen.get(key, 0) + 1
        result.append(
            document if seen[key] == 1 else replace(document, collection=f"{document.collection}-{seen[key]}")
        )
    return result


def _build(index_dir: Path, documents: list[Document], *, rebuild: bool) -> int:
    wanted = Manifest(
        build=datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f"),
        embedder=embedder_identity(),
        chunking=CHUNKING,
        documents={_key(d): d.digest for d in documents},
        passages=0,
    )
    serving = None if rebuild else _serving(index_dir, wanted)
    if serving and read_manifest(serving).documents == wanted.documents:
        print(f"The index is up to date: {len(documents)} documents ({wanted.embedder.name}).")
        return 0
    model = embedder()
    old = SearchIndex(serving, model) if serving else None
    chunks = list(cut(documents, model))
    build = _fresh_folder(index_dir, wanted.build)
    vectors = _vectors(chunks, model, old, wanted)
    _write(build, chunks, vectors, _title_vectors(chunks, model), replace(wanted, passages=len(chunks)))
    _check(build, chunks, vectors, model)
    _serve(index_dir, build)
    print(f"Indexed {len(documents)} documents as {len(chunks)} passages in {index_dir} ({wanted.embedder.name}).")
    return 0


def _serving(index_dir: Path, wanted: Manifest) -> Path | None:
    """The build that serves, if its vectors can be kept; a damaged one or one of another embedder is built anew."""
    build = current_build(index_dir)
    try:
        return build if build and read_manifest(build).made_alike(wanted) else None
    except IndexProblem as problem:
        print(f"{problem}\nBuilding it anew.", file=sys.stderr)
        return None


def _fresh_folder(index_dir: Path, build: str) -> Path:
    """A folder for the new build. What killed runs left is removed, and so are builds older than the one that serves."""
    builds = index_dir / "builds"
    builds.mkdir(exist_ok=True)
    serving = current_build(index_dir)
    for folder in builds.iterdir():
        if folder != serving:
            shutil.rmtree(folder)
    folder = builds / build
    folder.mkdir()
    return folder


# --- vectors and files ---


def _vectors(chunks: Sequence[Chunk], model: Embedder, old: SearchIndex | None, wanted: Manifest) -> Vectors:
    """One vector a chunk: kept from the old index where the document is unchanged, else embedded."""
    kept = {d for d, digest in wanted.documents.items() if old and old.manifest.documents.get(d) == digest}
    known = [i for i, c in enumerate(chunks) if _key(c.document) in kept]
    new = [i for i, c in enumerate(chunks) if _key(c.document) not in kept]
    vectors = np.empty((len(chunks), model.dimension), dtype=np.float32)
    if old and known:
        vectors[known] = old.vectors([chunks[i].id for i in known])
    if new:
        vectors[new] = embedded([chunks[i].search_text for i in new], model)
    return vectors


def _title_vectors(chunks: Sequence[Chunk], model: Embedder) -> Vectors:
    """For each chunk the vector of its document's title and synonyms."""
    titles = {_key(c.document): ", ".join((c.document.title, *c.document.synonyms[:4])) for c in chunks}
    rows = {key: row for row, key in enumerate(titles)}
    vectors = model.documents(list(titles.values()))
    return vectors[[rows[_key(c.document)] for c in chunks]]


def _write(build: Path, chunks: Sequence[Chunk], vectors: Vectors, titles: Vectors, manifest: Manifest) -> None:
    client = open_chroma(build / "chroma")
    passages = client.create_collection(
        COLLECTION, configuration={"hnsw": {"space": "cosine", "ef_search": 200}}, embedding_function=None
    )
    step = client.get_max_batch_size()
    for start in tqdm(range(0, len(chunks), step), desc="Writing", unit="batch", disable=None, leave=False):
        batch = chunks[start : start + step]
        passages.add(
            ids=[c.id for c in batch],
            embeddings=vectors[start : start + step],
            documents=[c.text for c in batch],
            metadatas=[_metadata(c) for c in batch],
        )
    lexical = bm25s.BM25()
    lexical.index(lexical_tokens([c.search_text for c in chunks]), show_progress=False)
    lexical.save(build / "bm25")
    (build / "ids.json").write_text(json.dumps([c.id for c in chunks]), "utf-8")
    np.save(build / "titles.npy", titles)
    write_terms(build, {name: c.document.title for c in chunks for name in (c.document.title, *c.document.synonyms)})
    manifest.write(build)


def _metadata(chunk: Chunk) -> dict[str, str]:
    document = chunk.document
    return {
        "collection": document.collection,
        "source": document.source,
        "title": document.title,
        "url": document.url,
        "section": chunk.section,
        "category": document.category,
        "licence": document.licence,
    }


def _check(build: Path, chunks: Sequence[Chunk], vectors: Vectors, model: Embedder) -> None:
    """Query the new build as a reader would: a passage must find itself by meaning and by its words."""
    index = SearchIndex(build, model)
    if len(index) != len(chunks) or not np.isfinite(vectors).all():
        raise IndexProblem(
            f"The new index holds {len(index)} of {len(chunks)} passages: not put in place. Run python 3_rag/index.py --rebuild"
        )
    for i in range(0, len(chunks), max(1, len(chunks) // 20)):
        near = index.dense(vectors[i], 10)
        if max(near.values(), default=0) < 0.99:
            raise IndexProblem(
                f"The new index does not find its own passage {chunks[i].id}: not put in place. Run python 3_rag/index.py --rebuild"
            )
    words = lexical_tokens([chunks[0].search_text])[0]
    if words and not index.lexical(words, 10):
        raise IndexProblem("The new lexical index finds nothing: not put in place. Run python 3_rag/index.py --rebuild")


def _serve(index_dir: Path, build: Path) -> None:
    """Make `build` the one that serves, in one rename."""
    pointer = index_dir / "current.new"
    pointer.write_text(build.name, "utf-8")
    pointer.replace(index_dir / "current")


if __name__ == "__main__":
    sys.exit(main())

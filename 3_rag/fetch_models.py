"""Brings the full tier of models, once, with progress, and says plainly what it could not bring and what is used instead.

Reads    the Hugging Face Hub (HF_TOKEN, HF_ENDPOINT), and scispaCy's release page
Writes   3_rag/models/ (MODELS_DIR): one folder a model, put in place whole
Run      python 3_rag/fetch_models.py
"""

import argparse
import shutil
import sys
import tarfile
import tempfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import httpx2
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
from tqdm import tqdm

from models import EMBEDDER, ENTITY_MODEL, RERANKER, local_path
from settings import get_settings

CONNECT_SECONDS = 5
INSTEAD = {
    EMBEDDER: "all-MiniLM-L6-v2 (bundled)",
    RERANKER: "the fused search order",
    ENTITY_MODEL: "our lexicon alone",
}
_FAULTS = (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, httpx2.HTTPError, OSError, tarfile.TarError)


def main(argv: Sequence[str] | None = None) -> int:
    """Bring what is missing. 0 where all is there, 1 where something could not be brought (0 with --once: the chat runs without)."""
    parser = argparse.ArgumentParser(description="Bring the full tier of models into MODELS_DIR.")
    parser.add_argument(
        "--once", action="store_true", help="try only if this was never tried before; a failure is no error"
    )
    args = parser.parse_args(argv)
    folder = get_settings().models_dir
    folder.mkdir(parents=True, exist_ok=True)
    tried = folder / ".tried"
    missing = [name for name in INSTEAD if not local_path(name).is_dir()]
    if not missing or (args.once and tried.exists()):
        return 0
    try:
        failed = [name for name in missing if not _brought(name)]
    except KeyboardInterrupt:
        print("Stopped. What was brought is kept; the rest uses the bundled models.", file=sys.stderr)
        return 130
    tried.touch()
    if failed:
        used = "; ".join(f"{INSTEAD[name]} instead of {name}" for name in failed)
        print(
            f"Could not bring {len(failed)} of {len(INSTEAD)} models, so the chat uses {used}. To try again: make models"
        )
    return 1 if failed and not args.once else 0


def _brought(name: str) -> bool:
    """Download into a folder beside the final one and rename it: a folder that exists is whole."""
    fetch = _from_scispacy if name == ENTITY_MODEL else _from_hub
    with tempfile.TemporaryDirectory(dir=get_settings().models_dir) as temporary:
        try:
            fetch(name, Path(temporary)).rename(local_path(name))
        except _FAULTS:
            return False
    print(f"Brought {name}.")
    return True


def _from_hub(name: str, folder: Path) -> Path:
    token = get_settings().hf_token
    snapshot_download(
        name,
        local_dir=folder / "model",
        token=token.get_secret_value() if token else None,
        allow_patterns=["*.json", "*.txt", "model.safetensors", "*/config.json"],
        etag_timeout=CONNECT_SECONDS,
    )
    shutil.rmtree(folder / "model" / ".cache", ignore_errors=True)
    return folder / "model"


def _from_scispacy(name: str, folder: Path) -> Path:
    """The spaCy model inside the release archive: the folder that holds config.cfg."""
    archive = folder / "archive.tar.gz"
    with urllib.request.urlopen(get_settings().scispacy_url, timeout=CONNECT_SECONDS) as response:  # noqa: S310 - https
        size = int(response.headers.get("content-length", 0))
        with archive.open("wb") as file, tqdm(total=size, unit="B", unit_scale=True, desc=name, disable=None) as bar:
            while block := response.read(1 << 16):
                file.write(block)
                bar.update(len(block))
    with tarfile.open(archive) as tar:
        tar.extractall(folder / "unpacked", filter="data")
    return next((folder / "unpacked").rglob("config.cfg")).parent


if __name__ == "__main__":
    sys.exit(main())

"""The house of DESIGN.md: the lists that name its folders agree, module names are unique, and imports point only the way they may."""

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from settings import ROOT

FOLDERS = sorted(p.name for p in ROOT.iterdir() if p.is_dir() and p.name[0].isdigit() and p.name != "7_deploy")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
MODULES = {path.stem: folder for folder in FOLDERS for path in (ROOT / folder).glob("*.py")}
SCRIPTS = {"prepare_data", "train", "fuse_and_push", "index", "app", "fetch_models", "scorecard", "benchmark"}
MAY_IMPORT = {
    "5_database": {"settings"},
    "1_data": {"settings", "prompts", "screen", "triage", "entities", "clinical_data", "measurements", "plain_text"},
    "2_finetune": {
        "settings",
        "prompts",
        "screen",
        "triage",
        "entities",
        "clinical_data",
        "measurements",
        "plain_text",
    },
}
STAGES = ["entities", "triage", "retrieve", "rerank", "generate", "pipeline"]


def imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    names = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    return names | {n.module.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}


def test_every_list_of_folders_is_the_same() -> None:
    tool = PYPROJECT["tool"]
    lists = [
        tool["hatch"]["build"]["dev-mode-dirs"],
        [f for f in tool["mypy"]["mypy_path"] if f != "tests"],
        tool["pyright"]["extraPaths"],
        tool["ruff"]["src"],
        [f for f in tool["pytest"]["ini_options"]["pythonpath"] if f != "tests"],
        [f for f in tool["mypy"]["files"] if f not in ("tests", "7_deploy")],
    ]
    makefile = next(x for x in (ROOT / "Makefile").read_text().splitlines() if x.startswith("FOLDERS"))
    lists.append(makefile.split(":=")[1].strip().split(":"))
    assert all(sorted(found) == FOLDERS for found in lists), lists


def test_module_names_are_unique_and_shadow_nothing() -> None:
    names = [path.stem for folder in FOLDERS for path in (ROOT / folder).glob("*.py")]
    assert len(names) == len(set(names))
    ours = {n for n, dists in packages_distributions().items() if dists == ["mediassist"]}
    assert not set(names) & (sys.stdlib_module_names | (packages_distributions().keys() - ours))
    assert not set(names) & {"config", "utils", "datasets", "evaluate", "tokenizers"}


def test_numbered_folders_are_flat() -> None:
    assert not [p for folder in FOLDERS for p in (ROOT / folder).rglob("__init__.py")]


def test_no_code_edits_the_path() -> None:
    for path in [p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py")]:
        text = path.read_text("utf-8")
        assert "sys.path" not in text, path
        assert "spec_from_file_location" not in text, path


def test_nothing_imports_a_script() -> None:
    for path in [p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py")]:
        assert not imports(path) & SCRIPTS, path


def test_folders_import_only_what_they_may() -> None:
    for folder, allowed in MAY_IMPORT.items():
        own = {m for m, f in MODULES.items() if f == folder}
        for path in (ROOT / folder).glob("*.py"):
            foreign = imports(path) & MODULES.keys() - own
            assert foreign <= allowed, (path, foreign - allowed)


def test_a_stage_knows_nothing_of_the_stages_after_it() -> None:
    for place, stage in enumerate(STAGES):
        assert not imports(ROOT / "3_rag" / f"{stage}.py") & set(STAGES[place + 1 :]), stage


def test_only_settings_reads_the_environment() -> None:
    for path in [p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py") if p.name != "settings.py"]:
        text = path.read_text("utf-8")
        assert "getenv" not in text and "environ.get" not in text, path

"""preflight.py and the Makefile: what stands in the way is one line that says what to do."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from settings import ROOT

PREFLIGHT = ROOT / "7_deploy" / "preflight.py"


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(PREFLIGHT), *args], capture_output=True, text=True, timeout=60)


def functions() -> dict[str, object]:
    names: dict[str, object] = {"__name__": "preflight"}
    exec(compile(PREFLIGHT.read_text("utf-8"), str(PREFLIGHT), "exec"), names)
    return names


@pytest.mark.parametrize(
    ("version", "fine"), [((3, 10, 4), False), ((3, 11, 0), True), ((3, 12, 9), True), ((3, 13, 0), False)]
)
def test_python(version: tuple[int, ...], fine: bool) -> None:
    problem = functions()["python_problem"](version)  # type: ignore[operator]  # a function of a script that is no module
    assert (problem is None) == fine
    assert fine or "make run PYTHON=" in problem


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    names = functions()
    names["NEEDED_GB"] = 10**9
    problem = names["disk_problem"](str(ROOT))  # type: ignore[operator]  # as above
    assert "Free some space" in problem


def test_a_taken_port_is_told_with_another() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("--port", str(port))
    assert done.returncode == 2
    assert (
        done.stderr.strip() == f"Port {port} is taken. Stop what uses it, or choose another: make run PORT={port + 1}"
    )


def test_help_lists_every_target_that_people_use() -> None:
    done = subprocess.run(["make", "help"], capture_output=True, text=True, cwd=ROOT, timeout=60)
    for target in ("run", "test", "soak", "scorecard", "models", "index"):
        assert re.search(rf"make {target}\b", done.stdout), done.stdout


def test_a_wrong_python_stops_make_with_one_line(tmp_path: Path) -> None:
    wrong = tmp_path / "python3"
    wrong.write_text(
        '#!/bin/sh\nif [ "$1" = 7_deploy/preflight.py ]; then echo "MediAssist needs Python 3.11 or 3.12" >&2; exit 2; fi\nexit 1\n'
    )
    wrong.chmod(0o755)
    done = subprocess.run(
        ["make", "setup", f"PYTHON={wrong}", f"VENV={tmp_path / 'venv'}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
    )
    assert done.returncode != 0
    assert "needs Python 3.11 or 3.12" in done.stderr
    assert not (tmp_path / "venv").exists()

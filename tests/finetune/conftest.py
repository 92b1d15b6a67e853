"""One tiny Llama, trained and fused once for all tests of this folder."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny_llama import make_tiny_llama

import fuse_and_push
import train

SYSTEM = "You are MediAssist."
ANSWER = "Rest, drink water, and see a nurse if it lasts."
QUESTIONS = [
    f"My {part} {feels} {when}."
    for part in ("head", "back", "knee", "foot", "ear", "hand")
    for feels in ("hurts", "aches", "itches")
    for when in ("today", "at night")
]


@dataclass(frozen=True)
class Run:
    """A finished training run: what it was given and where it wrote."""

    model: Path
    data: Path
    adapter: Path

    def arguments(self, adapter: Path, **values: object) -> list[str]:
        """A command line for train.py with this model and data, writing elsewhere."""
        options = {
            "model": self.model,
            "data": self.data,
            "adapter_path": adapter,
            "num_layers": -1,
            "batch_size": 4,
            "grad_accumulation_steps": 1,
            "grad_checkpoint": "false",
            "learning_rate": 3e-3,
            "lora_scale": 4,
            "warmup": 0,
            "iters": 60,
            "steps_per_eval": 10,
            "steps_per_report": 5,
            "save_every": 10,
            "val_batches": -1,
        } | values
        return [text for key, value in options.items() for text in (f"--{key.replace('_', '-')}", str(value))]


def chat(question: str, answer: str = ANSWER) -> dict[str, list[dict[str, str]]]:
    """One conversation in chat format."""
    messages = [("system", SYSTEM), ("user", question), ("assistant", answer)]
    return {"messages": [{"role": role, "content": content} for role, content in messages]}


def write_chats(path: Path, questions: list[str]) -> None:
    """Write a JSONL file in which each question has the same answer."""
    path.write_text("".join(json.dumps(chat(question)) + "\n" for question in questions), encoding="utf-8")


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A real training run of 60 iterations."""
    folder = tmp_path_factory.mktemp("finetune")
    data = folder / "data"
    data.mkdir()
    write_chats(data / "train.jsonl", QUESTIONS[:-6])
    write_chats(data / "valid.jsonl", QUESTIONS[-6:])
    model = make_tiny_llama(folder / "base", [SYSTEM, ANSWER, *QUESTIONS, *fuse_and_push.PROMPTS])
    done = Run(model, data, folder / "adapters")
    assert train.main(done.arguments(done.adapter)) == 0
    return done


@pytest.fixture(scope="session")
def fused(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's best adapter, fused into its base."""
    out = tmp_path_factory.mktemp("fused") / "fused"
    assert fuse_and_push.main(["--adapter", str(run.adapter), "--out", str(out)]) == 0
    return out

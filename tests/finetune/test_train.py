import json
import os
import shutil
import signal
import threading
import time
from itertools import islice
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
import yaml
from finetune.conftest import ANSWER, QUESTIONS, Run, chat, write_chats
from mlx_lm import load
from mlx_lm.tuner.trainer import evaluate

import train
from settings import ROOT

PNG = b"\x89PNG"


def read_metrics(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def rows(array: mx.array) -> list[list[int]]:
    nested: Any = array.tolist()
    return [[int(value) for value in row] for row in nested]


def validation_loss(run: Run, adapter: Path) -> float:
    """The loss of a saved adapter over the whole validation set, computed afresh."""
    model, tokenizer = load(str(run.model), adapter_path=str(adapter))[:2]
    config = train.read_config(train.CONFIG, {})
    examples = train.encode(train.read_chats(run.data / "valid.jsonl"), tokenizer, config, "valid")
    batches = train.Batches(0, threading.Event())
    return float(evaluate(model, examples, 4, -1, config.max_seq_length, iterate_batches=batches))


def finite(adapter: Path) -> bool:
    weights: Any = mx.load(str(adapter / "adapters.safetensors"))
    return all(mx.all(mx.isfinite(weight)).item() for weight in weights.values())


# -- A real run


def test_training_learns_and_the_best_adapter_is_the_one_kept(run: Run) -> None:
    metrics = read_metrics(run.adapter)
    validations = {int(entry["iteration"]): entry["val_loss"] for entry in metrics if "val_loss" in entry}
    summary = json.loads((run.adapter / "summary.json").read_text())
    assert summary["finish"] == "complete"
    assert summary["best"]["val_loss"] == min(validations.values()) < validations[0] / 4
    assert validation_loss(run, run.adapter) == pytest.approx(summary["best"]["val_loss"], abs=1e-4)


def test_final_weights_are_validated_and_kept_too(run: Run) -> None:
    last = read_metrics(run.adapter)[-1]
    assert last["iteration"] == 60
    assert validation_loss(run, run.adapter / "last") == pytest.approx(last["val_loss"], abs=1e-4)


def test_best_is_not_the_last_where_training_gets_worse(run: Run, tmp_path: Path) -> None:
    # Learning to answer the opposite of what is validated: the loss falls from random, then rises.
    data = tmp_path / "data"
    data.mkdir()
    (data / "train.jsonl").write_text((run.data / "train.jsonl").read_text())
    other = [chat(question, "itches knee foot hand") for question in ("My ear aches today.", "My back hurts at night.")]
    (data / "valid.jsonl").write_text("".join(json.dumps(row) + "\n" for row in other))
    adapter = tmp_path / "adapters"
    assert train.main(run.arguments(adapter, data=data, iters=20, steps_per_eval=4)) == 0
    summary = json.loads((adapter / "summary.json").read_text())
    assert summary["best"]["iteration"] < summary["last"]["iteration"]
    moved = Run(run.model, data, adapter)
    assert validation_loss(moved, adapter) == pytest.approx(summary["best"]["val_loss"], abs=1e-4)
    assert validation_loss(moved, adapter / "last") > summary["best"]["val_loss"] + 1e-3


def test_curve_and_resolved_configuration_are_saved(run: Run) -> None:
    assert (run.adapter / "loss_curve.png").read_bytes().startswith(PNG)
    for folder in (run.adapter, run.adapter / "last"):
        config = json.loads((folder / "adapter_config.json").read_text())
        assert config["iters"] == 60  # from the command line
        assert config["lora_parameters"]["rank"] == 8  # from config.yaml
        assert config["model"] == str(run.model)


def test_an_earlier_run_is_replaced_only_if_asked(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    before = (run.adapter / "adapters.safetensors").read_bytes()
    assert train.main(run.arguments(run.adapter)) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (run.adapter / "adapters.safetensors").read_bytes() == before


def test_non_finite_loss_stops_the_run_and_keeps_good_weights(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A base model that computes NaN for one word, and a training set that holds it once.
    model = tmp_path / "base"
    shutil.copytree(run.model, model)
    weights: Any = mx.load(str(model / "model.safetensors"))
    tokenizer = load(str(model))[1]
    weights["model.embed_tokens.weight"][tokenizer.encode("§", add_special_tokens=False)[0]] = float("nan")
    mx.save_safetensors(str(model / "model.safetensors"), weights, {"format": "pt"})
    data = tmp_path / "data"
    data.mkdir()
    write_chats(data / "train.jsonl", [*QUESTIONS[:15], "My § hurts."])
    write_chats(data / "valid.jsonl", QUESTIONS[-4:])
    adapter = tmp_path / "adapters"
    values = {"model": model, "data": data, "steps_per_report": 1, "save_every": 1}
    assert train.main(run.arguments(adapter, **values)) == 2
    error = capsys.readouterr().err
    # Seed 0 draws the longest of the four batches, the one with the word, last.
    assert "the train_loss at iteration 4 is not a finite number" in error
    assert str(adapter / "last") in error
    assert finite(adapter)
    assert finite(adapter / "last")
    assert json.loads((adapter / "summary.json").read_text())["finish"] == "not finite"
    assert [entry["iteration"] for entry in read_metrics(adapter)] == [0, 1, 2, 3]


def test_non_finite_weights_are_not_saved_even_where_the_loss_is_finite(run: Run, tmp_path: Path) -> None:
    model: Any = load(str(run.model))[0]
    config = train.read_config(train.CONFIG, {"num_layers": -1, "adapter_path": str(tmp_path), "model": str(run.model)})
    train.add_adapter(model, config)
    recorder = train.Recorder(model, config)
    recorder.on_train_loss_report({"iteration": config.save_every, "train_loss": 1.0})
    model.layers[0].self_attn.q_proj.lora_b[0, 0] = float("inf")
    with pytest.raises(train.NotFinite, match="weight"):
        recorder.on_train_loss_report({"iteration": 2 * config.save_every, "train_loss": 1.0})
    assert finite(tmp_path / "last")


def test_interrupt_saves_the_weights_so_far(run: Run, tmp_path: Path) -> None:
    adapter = tmp_path / "adapters"

    def interrupt_once_trained() -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            path = adapter / "metrics.jsonl"
            if path.exists() and "train_loss" in path.read_text():
                os.kill(os.getpid(), signal.SIGINT)
                return
            time.sleep(0.02)

    before = signal.getsignal(signal.SIGINT)
    threading.Thread(target=interrupt_once_trained, daemon=True).start()
    assert train.main(run.arguments(adapter, iters=100_000, save_every=100_000)) == 130
    assert signal.getsignal(signal.SIGINT) is before
    assert json.loads((adapter / "summary.json").read_text())["finish"] == "interrupted"
    # Only the interrupt can have saved what was learned: save_every is far away.
    assert validation_loss(run, adapter / "last") < read_metrics(adapter)[0]["val_loss"] - 0.5


# -- Batches


def test_validation_batches_are_the_same_each_time_and_cover_every_row() -> None:
    dataset = [([1] * length, 1) for length in range(2, 13)]
    batches = train.Batches(0, threading.Event())
    first, second = ([rows(tokens) for tokens, _ in batches(dataset, 4, 100)] for _ in range(2))
    assert first == second
    assert sorted(sum(row) for batch in first for row in batch) == list(range(2, 13))


def test_training_batches_come_in_another_order_each_round() -> None:
    dataset = [([1] * length, 1) for length in range(2, 42)]
    batches = train.Batches(0, threading.Event())(dataset, 4, 100, loop=True)
    rounds = [[sum(map(sum, rows(tokens))) for tokens, _ in islice(batches, 10)] for _ in range(2)]
    assert rounds[0] != rounds[1]
    assert sorted(rounds[0]) == sorted(rounds[1])


def test_only_the_answer_is_learned() -> None:
    tokens, spans = train.pad([([5, 6, 7, 8], 2), ([5, 6, 7, 8, 9, 9], 3)], max_seq_length=64)
    assert tokens.shape == (2, 33)
    # mlx_lm's loss counts target positions first <= p <= last; the prompt is before them and the padding after.
    assert rows(spans) == [[2, 3], [3, 5]]


def test_long_conversations_are_cut_and_those_without_an_answer_left_out(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = load(str(run.model))[1]
    config = train.read_config(train.CONFIG, {"max_seq_length": 40})
    chats = [chat("My ear aches today.", ANSWER * 9), chat("My ear aches today. " * 20), chat("My ear.", "Rest.")]
    examples = train.encode(chats, tokenizer, config, "train")
    assert len(examples) == 2
    assert "2 of 3 conversations are longer than max_seq_length (40" in capsys.readouterr().out
    tokens, spans = train.pad(examples, config.max_seq_length)
    assert tokens.shape[1] == 40
    assert all(first <= last for first, last in rows(spans))  # something to learn in each: no loss of 0/0
    with pytest.raises(train.Stop, match="leaves no answer"):
        train.encode(chats[1:2], tokenizer, config, "train")


# -- The configuration


def test_the_shipped_configuration_is_what_the_issue_asks() -> None:
    config = train.read_config(train.CONFIG, {})
    assert config.model == "mlx-community/Llama-3.2-3B-Instruct"
    assert (config.num_layers, config.lora_parameters.rank, config.iters, config.mask_prompt) == (16, 8, 1000, True)


def test_every_key_is_explained_in_the_shipped_configuration() -> None:
    lines = train.CONFIG.read_text().splitlines()
    keys = [n for n, line in enumerate(lines) if line.split("#")[0].strip()]
    assert all(lines[n - 1].lstrip().startswith("# ") for n in keys)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lora_layers": 16}, ["lora_layers", "16", "unknown key", "num_layers"]),
        ({"itters": 5}, ["itters", "did you mean iters"]),
        ({"lora_parameters": {"rank": 8, "alpha": 16}}, ["lora_parameters.alpha", "16", "unknown key", "scale"]),
        ({"batch_size": "four"}, ["batch_size", "'four'", "integer"]),
        ({"batch_size": True}, ["batch_size", "True", "integer"]),
        ({"iters": -1}, ["iters", "-1", "greater than 0"]),
        ({"learning_rate": 2.0}, ["learning_rate", "2.0", "less than or equal to 0.1"]),
        ({"optimizer": "sgd"}, ["optimizer", "'sgd'", "'adam' or 'adamw'"]),
        ({"num_layers": 0}, ["num_layers", "-1 (all)"]),
        ({"save_every": 15}, ["save_every (15)", "multiple", "steps_per_report (10)"]),
        ({"mask_prompt": "yes"}, ["mask_prompt", "'yes'", "boolean"]),
    ],
)
def test_a_bad_configuration_is_refused_in_words(changes: dict[str, Any], words: list[str], tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(train.CONFIG.read_text()) | changes))
    with pytest.raises(train.Stop) as stopped:
        train.read_config(path, {})
    message = str(stopped.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("".join(line + "\n" for line in train.CONFIG.read_text().splitlines() if "iters:" not in line))
    with pytest.raises(train.Stop, match="iters: missing"):
        train.read_config(path, {})


def test_the_command_line_overrides_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    flags = [
        "--iters",
        "7",
        "--learning-rate",
        "2e-4",
        "--lora-rank",
        "4",
        "--adapter-path",
        "here",
        "--grad-checkpoint",
    ]
    args, overrides = train.parse([*flags, "false"])
    config = train.read_config(args.config, overrides)
    assert (config.iters, config.learning_rate, config.lora_parameters.rank, config.grad_checkpoint) == (
        7,
        2e-4,
        4,
        False,
    )
    assert config.lora_parameters.dropout == 0.05  # the file's
    assert config.adapter_folder == tmp_path / "here"
    assert config.data_folder == ROOT / "1_data" / "processed"


# -- Errors of one line


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"data": "nowhere"}, "python 1_data/prepare_data.py"),
        ({"num_layers": 99}, "has 4"),
        ({"lora_keys": "[self_attn.q_prog]"}, "self_attn.q_proj"),
        ({"model": "nowhere/no-such-model"}, "cannot load the model nowhere/no-such-model"),
        ({"batch_size": "x"}, "batch_size: 'x' is not allowed"),
    ],
)
def test_user_errors_are_one_line(
    values: dict[str, object], words: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(run.arguments(tmp_path / "adapters", **values)) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("train: ")
    assert words in error
    assert not (tmp_path / "adapters").exists()


def test_a_broken_data_file_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    write_chats(path, ["My ear aches."])
    with path.open("a") as lines:
        lines.write('{"text": "not a chat"}\n')
    with pytest.raises(train.Stop, match=r"train\.jsonl, line 2"):
        train.read_chats(path)

"""Step 2: fine-tune a Llama with LoRA on the conversations of step 1, and keep the adapter that validates best.

Reads:  2_finetune/config.yaml, and train.jsonl and valid.jsonl in 1_data/processed.
Writes: 2_finetune/adapters: adapters.safetensors (the best), last/ (the newest), adapter_config.json, metrics.jsonl,
        summary.json, loss_curve.png.
Run:    python 2_finetune/train.py --iters 1000
"""

import argparse
import difflib
import json
import math
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Annotated, Any, Literal, Self

import mlx.core as mx
import mlx.optimizers as optim
import numpy as np
import yaml
from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # exported by a module __getattr__
from matplotlib.figure import Figure
from mlx.nn.layers.base import Module
from mlx.utils import tree_flatten
from mlx_lm import load
from mlx_lm.tuner.callbacks import TrainingCallback
from mlx_lm.tuner.datasets import ChatDataset
from mlx_lm.tuner.trainer import TrainingArgs, evaluate, train
from mlx_lm.tuner.utils import linear_to_lora_layers
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from tqdm import tqdm

from settings import ROOT, get_settings

CONFIG = ROOT / "2_finetune" / "config.yaml"
ADAPTER = "adapters.safetensors"  # the names that mlx_lm looks for
ADAPTER_CONFIG = "adapter_config.json"
PAD_TO = 32  # batches are padded to a multiple of this, so that mlx compiles few shapes

Number = Annotated[float, Field(strict=False)]  # PyYAML reads 1e-5, without a point, as text
Count = Annotated[int, Field(gt=0)]
CountOrAll = Annotated[int, Field(ge=-1)]
Example = tuple[list[int], int]  # tokens of one conversation, and how many of them are prompt


class Stop(Exception):  # noqa: N818
    """What the user has to know or do before this step can go on; printed as one line."""


class Interrupted(Exception):  # noqa: N818
    """The user asked to stop; raised between two steps, where the weights are whole."""


class NotFinite(Exception):  # noqa: N818
    """A loss or a weight is no longer a finite number."""


# -- The configuration


class LoraParameters(BaseModel):
    """The shape of the adapters, under the names that mlx_lm reads from adapter_config.json."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    rank: Count = 8
    scale: Annotated[Number, Field(gt=0)] = 20.0
    dropout: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    keys: list[str] | None = None


class Config(BaseModel):
    """One training run. config.yaml says what each key means."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    model: str
    data: str
    adapter_path: str
    num_layers: CountOrAll
    lora_parameters: LoraParameters
    mask_prompt: bool
    max_seq_length: Count
    batch_size: Count
    grad_accumulation_steps: Count
    grad_checkpoint: bool
    iters: Count
    optimizer: Literal["adam", "adamw"]
    learning_rate: Annotated[Number, Field(gt=0, le=0.1)]
    schedule: Literal["constant", "cosine"]
    warmup: Annotated[int, Field(ge=0)]
    seed: Annotated[int, Field(ge=0)]
    steps_per_report: Count
    steps_per_eval: Count
    val_batches: CountOrAll
    save_every: Count

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.save_every % self.steps_per_report:
            raise ValueError(
                f"save_every ({self.save_every}) must be a multiple of steps_per_report ({self.steps_per_report})"
            )
        if self.iters < self.grad_accumulation_steps:
            raise ValueError(
                f"iters ({self.iters}) must be at least grad_accumulation_steps ({self.grad_accumulation_steps})"
            )
        for key in ("num_layers", "val_batches"):
            if getattr(self, key) == 0:
                raise ValueError(f"{key} must be -1 (all) or 1 and more, and is 0")
        return self

    @property
    def data_folder(self) -> Path:
        """Where train.jsonl and valid.jsonl are."""
        return ROOT / self.data

    @property
    def adapter_folder(self) -> Path:
        """Where the run writes."""
        return ROOT / self.adapter_path


def read_config(path: Path, overrides: dict[str, Any]) -> Config:
    """The configuration file with the command line's values on top.

    Raises:
        Stop: The file cannot be read, or a key is unknown, missing or has a value that it may not have.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Stop(f"cannot read {path} ({error.strerror}). Give another file with --config.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Stop(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise Stop(f"{path} must hold lines of the form key: value. See {CONFIG}.")
    lora = {key.removeprefix("lora_"): overrides.pop(key) for key in list(overrides) if key.startswith("lora_")}
    if lora:
        values["lora_parameters"] = {**(values.get("lora_parameters") or {}), **lora}
    try:
        return Config.model_validate(values | overrides)
    except ValidationError as error:
        raise Stop(f"{path}: " + "; ".join(explain(fault) for fault in error.errors())) from error


def explain(fault: Any) -> str:
    """One pydantic error as words: the key, its value, and what is allowed."""
    key = ".".join(map(str, fault["loc"]))
    model = LoraParameters if key.startswith("lora_parameters.") else Config
    match fault["type"]:
        case "extra_forbidden":
            close = difflib.get_close_matches(str(fault["loc"][-1]), model.model_fields, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            return f"{key}: unknown key (value {fault['input']!r}); {hint}allowed: {', '.join(model.model_fields)}"
        case "missing":
            return f"{key}: missing; copy its line from {CONFIG}"
        case "value_error":
            return str(fault["ctx"]["error"])
    return f"{key}: {fault['input']!r} is not allowed; {fault['msg'][:1].lower()}{fault['msg'][1:]}"


# -- Data


def read_chats(path: Path) -> list[dict[str, Any]]:
    """The conversations of a JSONL file, each ending with the assistant's turn."""
    chats = []
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                chat = json.loads(line)
                if [message["role"] for message in chat["messages"]][-2:] != ["user", "assistant"]:
                    raise Stop(f"{path}, line {number}: the last two messages must be a user's and an assistant's.")
                chats.append(chat)
    except FileNotFoundError as error:
        raise Stop(f"{path} does not exist. Make it: python 1_data/prepare_data.py") from error
    except (ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise Stop(
            f"{path}, line {number}: not a chat ({reason}). Make it again: python 1_data/prepare_data.py"
        ) from error
    if not chats:
        raise Stop(f"{path} is empty. Make it again: python 1_data/prepare_data.py")
    return chats


def encode(chats: Sequence[dict[str, Any]], tokenizer: Any, config: Config, name: str) -> list[Example]:
    """The conversations as tokens. Says how many are cut, and leaves out those of which no answer would remain."""
    dataset: Any = ChatDataset(list(chats), tokenizer, mask_prompt=config.mask_prompt)
    examples: list[Example] = [dataset.process(chat) for chat in tqdm(chats, desc=f"Tokens of {name}", disable=None)]
    cut = [example for example in examples if len(example[0]) > config.max_seq_length]
    # A batch of which no answer remains has a loss of 0/0.
    kept = [(tokens, prompt) for tokens, prompt in examples if prompt < min(len(tokens), config.max_seq_length)]
    if cut:
        print(
            f"{name}: {len(cut):,} of {len(examples):,} conversations are longer than max_seq_length "
            f"({config.max_seq_length}; the longest has {max(len(tokens) for tokens, _ in cut):,} tokens) and are cut; "
            f"{len(examples) - len(kept):,} of them are left out, as nothing of the answer would remain."
        )
    if not kept:
        raise Stop(
            f"max_seq_length ({config.max_seq_length}) leaves no answer in any conversation of {name}. Raise it."
        )
    return kept


@dataclass(frozen=True)
class Batches:
    """Batches in an order fixed by the seed, the same ones for every validation; ends the run when `stop` is set.

    Stands in for mlx_lm's `iterate_batches`, which draws other validation batches each time (so that its best loss is
    partly luck), never uses the rows after the last full batch, and does not group conversations of like length.
    """

    seed: int
    stop: Event

    def __call__(
        self,
        dataset: Sequence[Example],
        batch_size: int,
        max_seq_length: int,
        loop: bool = False,
        comm_group: object = None,  # for training on several machines, which train.py does not do
    ) -> Iterator[tuple[mx.array, mx.array]]:
        """Yield (tokens, spans): int32 of shape (rows, length); (rows, 2), the first and last position learned."""
        by_length = sorted(range(len(dataset)), key=lambda row: len(dataset[row][0]))
        batches = [by_length[start : start + batch_size] for start in range(0, len(by_length), batch_size)]
        draw = np.random.default_rng(self.seed)
        while True:
            for number in draw.permutation(len(batches)):
                if self.stop.is_set():
                    raise Interrupted
                yield pad([dataset[row] for row in batches[number]], max_seq_length)
            if not loop:
                return


def pad(examples: Sequence[Example], max_seq_length: int) -> tuple[mx.array, mx.array]:
    """Cut to `max_seq_length` and pad with zeros to one length."""
    lengths = [min(len(tokens), max_seq_length) for tokens, _ in examples]
    width = min(1 + PAD_TO * math.ceil(max(lengths) / PAD_TO), max_seq_length)
    batch = np.zeros((len(examples), width), np.int32)
    for row, (tokens, _) in enumerate(examples):
        batch[row, : lengths[row]] = tokens[: lengths[row]]
    # mlx_lm's loss counts its last position in; length - 1 keeps it from learning the padding after the answer.
    spans = [(prompt, length - 1) for (_, prompt), length in zip(examples, lengths, strict=True)]
    return mx.array(batch), mx.array(spans)


# -- What a run leaves behind


@dataclass
class Recorder(TrainingCallback):
    """Writes the losses as they come, keeps the best and the newest adapter, ends the run at a non-finite number."""

    model: Module
    config: Config
    metrics: list[dict[str, float]] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    @property
    def folder(self) -> Path:
        """Where the run writes; the best adapter is in the folder itself."""
        return self.config.adapter_folder

    @property
    def validations(self) -> list[dict[str, float]]:
        """The reports that hold a validation loss, in order."""
        return [entry for entry in self.metrics if "val_loss" in entry]

    def on_train_loss_report(self, train_info: dict[str, float]) -> None:
        """Record a training loss; save the adapter where it is due."""
        self._record(train_info, "train_loss")
        self.check_weights()
        if train_info["iteration"] % self.config.save_every == 0:
            save_adapter(self.model, self.config, self.folder / "last")

    def on_val_loss_report(self, val_info: dict[str, float]) -> None:
        """Record a validation loss; keep the adapter if it is the best so far."""
        best = min((entry["val_loss"] for entry in self.validations), default=math.inf)
        self._record(val_info, "val_loss")
        if val_info["val_loss"] < best:
            save_adapter(self.model, self.config, self.folder)
        if 0 < (done := val_info["iteration"]) < self.config.iters:
            left = (time.monotonic() - self.started) * (self.config.iters - done) / done
            print(f"  about {math.ceil(left / 60)} min left")
        draw_curve(self.metrics, self.folder / "loss_curve.png")

    def check_weights(self) -> None:
        """Raise NotFinite if a weight of the adapter is not a finite number."""
        weights = adapter_weights(self.model).values()
        if not mx.all(mx.stack([mx.all(mx.isfinite(weight)) for weight in weights])).item():
            raise NotFinite("a weight of the adapter")

    def summarize(self, finish: str) -> dict[str, Any]:
        """Write and return summary.json: how the run ended, and its best, first and last validation."""
        summary = {
            "finish": finish,
            "seconds": round(time.monotonic() - self.started, 1),
            "base": self.validations[0] if self.validations else None,
            "best": min(self.validations, key=lambda entry: entry["val_loss"], default=None),
            "last": self.metrics[-1] if self.metrics else None,
        }
        (self.folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        return summary

    def _record(self, info: dict[str, float], loss: str) -> None:
        if not math.isfinite(info[loss]):
            raise NotFinite(f"the {loss} at iteration {info['iteration']}")
        self.metrics.append(info)
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(info) + "\n")


def adapter_weights(model: Any) -> dict[str, mx.array]:
    """The weights that training changes, by name."""
    return dict(tree_flatten(model.trainable_parameters()))


def save_adapter(model: Module, config: Config, folder: Path) -> None:
    """Write the adapter and its configuration to a folder that `mlx_lm --adapter-path` can read."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ADAPTER_CONFIG).write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
    staged = folder / f".{ADAPTER}"
    mx.save_safetensors(str(staged), adapter_weights(model))
    staged.replace(folder / ADAPTER)


def draw_curve(metrics: Sequence[dict[str, float]], path: Path) -> None:
    """Draw training and validation loss over the iterations."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for name, label in (("train_loss", "training"), ("val_loss", "validation")):
        points = [(entry["iteration"], entry[name]) for entry in metrics if name in entry]
        axes.plot([x for x, _ in points], [y for _, y in points], marker="o", markersize=3, label=label)
    axes.set(xlabel="iteration", ylabel="loss (nats per token)", title="Loss")
    axes.grid(alpha=0.3)
    axes.legend()
    staged = path.with_name(f".{path.name}")
    figure.savefig(staged, format="png")
    staged.replace(path)


# -- Training


def load_base(name: str) -> tuple[Module, Any]:
    """The base model and its tokenizer, from a folder or the Hub."""
    try:
        model, tokenizer = load(name)[:2]
    except (OSError, ValueError, httpx.HTTPError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise Stop(
            f"cannot load the model {name} ({reason}). Give --model a folder, or a Hub name and HF_TOKEN in .env."
        ) from error
    return model, tokenizer


def add_adapter(model: Module, config: Config) -> None:
    """Freeze the model and put LoRA layers into it."""
    layers = model.layers
    if config.num_layers > len(layers):
        raise Stop(
            f"num_layers: {config.num_layers} is not allowed; {config.model} has {len(layers)} (-1 is all of them)"
        )
    linear = sorted(
        name for name, module in layers[-1].named_modules() if hasattr(module, "to_lora") or "weight" in module
    )
    if unknown := sorted(set(config.lora_parameters.keys or ()) - set(linear)):
        raise Stop(f"lora_parameters.keys: {', '.join(unknown)} not found; {config.model} has: {', '.join(linear)}")
    model.freeze()
    parameters = config.lora_parameters.model_dump(exclude_none=True)
    linear_to_lora_layers(model, config.num_layers if config.num_layers > 0 else len(layers), parameters)


def build_optimizer(config: Config) -> optim.Optimizer:
    """The optimiser, with a learning rate that warms up and then stays or falls, counted in updates."""
    updates = max(1, config.iters // config.grad_accumulation_steps)
    warmup = min(config.warmup // config.grad_accumulation_steps, updates // 2)
    peak = config.learning_rate
    schedule = (
        optim.cosine_decay(peak, updates - warmup, peak / 10)
        if config.schedule == "cosine"
        else lambda step: mx.array(peak)
    )
    if warmup:
        schedule = optim.join_schedules([optim.linear_schedule(0.0, peak, warmup), schedule], [warmup])
    optimizer = optim.AdamW if config.optimizer == "adamw" else optim.Adam
    return optimizer(learning_rate=schedule)


@contextmanager
def stop_on_interrupt() -> Iterator[Event]:
    """While open, a first Ctrl-C sets the event and a second one interrupts at once."""
    stop = Event()
    before = signal.getsignal(signal.SIGINT)

    def ask(signum: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)
        print("\nStopping after this step. Press Ctrl-C again to stop at once, without saving.", file=sys.stderr)

    signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def fit(recorder: Recorder, examples: Sequence[Example], held_out: Sequence[Example]) -> str:
    """Train; returns how it ended: complete or interrupted. The best and the newest adapter are then on disk."""
    model, config = recorder.model, recorder.config
    last = recorder.folder / "last"
    arguments = TrainingArgs(
        batch_size=config.batch_size,
        iters=config.iters,
        val_batches=config.val_batches,
        steps_per_report=config.steps_per_report,
        steps_per_eval=config.steps_per_eval,
        steps_per_save=config.iters + 1,  # the recorder saves, after it has checked the weights
        max_seq_length=config.max_seq_length,
        adapter_file=str(last / ADAPTER),
        grad_checkpoint=config.grad_checkpoint,
        grad_accumulation_steps=config.grad_accumulation_steps,
    )
    optimizer = build_optimizer(config)
    save_adapter(model, config, last)
    with stop_on_interrupt() as stop:
        batches = Batches(config.seed, stop)
        try:
            train(model, optimizer, examples, held_out, arguments, iterate_batches=batches, training_callback=recorder)
            # mlx_lm validates before its last step: the final weights have not been judged yet.
            started = time.monotonic()
            loss = evaluate(
                model, held_out, config.batch_size, config.val_batches, config.max_seq_length, iterate_batches=batches
            )
            seconds = time.monotonic() - started
            recorder.on_val_loss_report({"iteration": config.iters, "val_loss": loss, "val_time": seconds})
        except Interrupted:
            recorder.check_weights()
            save_adapter(model, config, last)
            return "interrupted"
    return "complete"


def prepare_folder(folder: Path, overwrite: bool) -> None:
    """Make the run's folder; an earlier run in it is removed only if asked."""
    if (folder / ADAPTER).exists() and not overwrite:
        raise Stop(
            f"{folder} already holds a trained adapter. Give another --adapter-path, or replace it with --overwrite."
        )
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / "last", ignore_errors=True)
    for name in (ADAPTER, ADAPTER_CONFIG, "metrics.jsonl", "summary.json", "loss_curve.png"):
        (folder / name).unlink(missing_ok=True)


def parse(arguments: Sequence[str] | None) -> tuple[argparse.Namespace, dict[str, Any]]:
    """The command line: its own options, and the values that override keys of the configuration."""
    parser = argparse.ArgumentParser(
        description="Step 2: fine-tune a Llama with LoRA.",
        epilog="Each option from --model on overrides the key of that name in the configuration.",
    )
    parser.add_argument(
        "--config", type=Path, default=CONFIG, help="configuration to use (default: 2_finetune/config.yaml)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the run that is in the adapter folder")
    keys = [key for key in Config.model_fields if key != "lora_parameters"]
    keys += [f"lora_{key}" for key in LoraParameters.model_fields]
    comments = {
        key: comment for comment, key in re.findall(r"^ *# (.*)\n(?: *#.*\n)* *(\w+):", CONFIG.read_text(), re.M)
    }
    for key in keys:
        explanation = comments[key.removeprefix("lora_")].replace("%", "%%")
        parser.add_argument(f"--{key.replace('_', '-')}", metavar="VALUE", default=argparse.SUPPRESS, help=explanation)
    args = parser.parse_args(arguments)
    overrides = {key: yaml.safe_load(value) for key, value in vars(args).items() if key in keys}
    for key in ("model", "data", "adapter_path"):
        if (
            key in overrides
        ):  # text, whatever YAML makes of it; a path on the command line is relative to where it is typed
            given = Path(getattr(args, key))
            overrides[key] = str(given.absolute()) if key != "model" or given.exists() else str(given)
    return args, overrides


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the step; returns the exit code."""
    args, overrides = parse(arguments)
    get_settings()  # loads .env, which may hold the token for the Hub
    try:
        config = read_config(args.config, overrides)
        folder = config.adapter_folder
        chats = {name: read_chats(config.data_folder / f"{name}.jsonl") for name in ("train", "valid")}
        mx.random.seed(config.seed)
        model, tokenizer = load_base(config.model)
        add_adapter(model, config)
        examples, held_out = (encode(chats[name], tokenizer, config, name) for name in ("train", "valid"))
        prepare_folder(folder, args.overwrite)
        recorder = Recorder(model, config)
        finish = fit(recorder, examples, held_out)
    except Stop as error:
        print(f"train: {error}", file=sys.stderr)
        return 2
    except NotFinite as error:
        recorder.summarize("not finite")
        print(
            f"train: stopped, {error} is not a finite number. The last good adapter is in {folder / 'last'}, "
            f"the best in {folder}. Try again with a lower --learning-rate and --overwrite.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("train: stopped. Adapters saved earlier are still there.", file=sys.stderr)
        return 130
    summary = recorder.summarize(finish)
    print_end(folder, summary)
    return 130 if finish == "interrupted" else 0


def print_end(folder: Path, summary: dict[str, Any]) -> None:
    """Say how the run ended and what to do next."""
    best, base = summary["best"], summary["base"]
    print(
        f"Training {summary['finish']} after {summary['seconds']:,.0f} s. The newest adapter is in {folder / 'last'}."
    )
    if best is None:
        return
    print(f"Validation loss {base['val_loss']:.3f} before training, {best['val_loss']:.3f} at best: {folder}")
    if best is base:
        print("No validation loss was lower than before training: the best adapter is still the untrained one.")
    else:
        print("Next: python 2_finetune/fuse_and_push.py")


if __name__ == "__main__":
    sys.exit(main())

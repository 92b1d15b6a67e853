"""Step 3: fuse the adapter into the base model, check that it still answers the same, and publish it if asked.

Reads:  2_finetune/adapters (step 2), the base model named there, and 1_data/processed/report.md for the model card.
Writes: 2_finetune/fused: the fused model in MLX format, its model card and NOTICE; with --push, a Hub repository.
Run:    python 2_finetune/fuse_and_push.py --push OWNER/Llama-3.2-3B-MediAssist
"""

import argparse
import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import mlx.core as mx
import numpy as np
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # exported by a module __getattr__
from mlx.utils import tree_unflatten
from mlx_lm import load, stream_generate
from mlx_lm.utils import dequantize_model, save_config, save_model
from tqdm import tqdm

from prompts import SYSTEM
from settings import ROOT, get_settings

PROMPTS = (
    "I have had a dull headache since this morning. What could it be?",
    "My chest feels tight and my left arm hurts. What should I do?",
    "I have been coughing for three weeks and I am tired all the time.",
    "What is high blood pressure?",
    "My son is two years old and has had a fever since last night.",
)
ANSWER_TOKENS = 48
# Fusing rounds the weights once more. Where the base model itself was undecided between two tokens, that can swap them, so
# a token may fall behind by this many rounding steps of its logit. Measured on small 16-bit Llamas: 4 steps at most with
# the adapter fused, more than 150 without it.
ROUNDING_STEPS = 8
ADAPTER = "adapters.safetensors"
WEIGHTS = "model.safetensors.index.json"
PORT = 8080
EXTRA = "generation_config.json"  # of the base model, for servers other than mlx_lm's
NOT_IN_CARD = {"model", "data", "adapter_path"}  # folders of the author's; the base model is named elsewhere


class Stop(Exception):  # noqa: N818
    """What the user has to know or do before this step can go on; printed as one line."""


class Answer(NamedTuple):
    """A greedy answer: the tokens of the prompt, and those of the answer."""

    prompt: list[int]
    tokens: list[int]


# -- Fusing


def read_run(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The configuration and the summary that step 2 left in the adapter's folder; the summary is empty for last/."""
    try:
        (folder / ADAPTER).stat()
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise Stop(f"{error.filename} does not exist. Train first: python 2_finetune/train.py") from error
    summary = folder / "summary.json"
    return config, json.loads(summary.read_text(encoding="utf-8")) if summary.exists() else {}


def check_out(out: Path, base: str) -> None:
    """Raise Stop unless the folder to write to is new, empty, or an earlier result of this step."""
    ours = (out / WEIGHTS).exists() and (out / "NOTICE").exists() and out.resolve() != Path(base).resolve()
    if out.exists() and not ours and (out.is_file() or any(out.iterdir())):
        raise Stop(f"{out} would be replaced, and holds something other than a fused model. Give another --out.")


def load_model(path: str, adapter: Path | None = None) -> tuple[Any, Any, dict[str, Any]]:
    """A model, its tokenizer and its configuration."""
    try:
        model, tokenizer, *rest = load(path, adapter_path=str(adapter) if adapter else None, return_config=True)
    except (OSError, ValueError, httpx.HTTPError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise Stop(
            f"cannot load {path} ({reason}). It is the model that {adapter} was trained on; bring it back."
        ) from error
    return model, tokenizer, rest[0]


def answer_greedily(model: Any, tokenizer: Any) -> list[Answer]:
    """Answer each of PROMPTS, always with the likeliest token."""
    answers = []
    for question in tqdm(PROMPTS, desc="Answers of base and adapter", disable=None):
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
        prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        tokens = [response.token for response in stream_generate(model, tokenizer, prompt, ANSWER_TOKENS)]
        answers.append(Answer(prompt, tokens))
    return answers


def fuse(model: Any, config: dict[str, Any], dequantize: bool) -> Any:
    """Add the adapter to the weights. `dequantize` turns a quantized base into 16-bit weights, and `config` with it."""
    fused = [(name, part.fuse(dequantize=dequantize)) for name, part in model.named_modules() if hasattr(part, "fuse")]
    model.update_modules(tree_unflatten(fused))
    if dequantize:
        model = dequantize_model(model)
        config.pop("quantization", None)
        config.pop("quantization_config", None)
    return model


def save(folder: Path, base: str, model: Any, tokenizer: Any, config: dict[str, Any]) -> None:
    """Write a model folder. mlx_lm's own `save` would also fetch the base's card from the Hub, and fail without it."""
    save_model(folder, model)
    save_config(config, config_path=folder / "config.json")
    tokenizer.save_pretrained(folder)
    source = Path(base if Path(base).exists() else snapshot_download(base, local_files_only=True, allow_patterns=EXTRA))
    if (source / EXTRA).exists():
        shutil.copy(source / EXTRA, folder)


def compare(logits: mx.array, tokens: Sequence[int], precision: float) -> tuple[int, str | None]:
    """Whether a model that was led through an answer would have given it by itself.

    Args:
        logits: What the model says before each token, float32 of shape (tokens, vocabulary).
        tokens: The answer. It is the model's own greedy answer where each token is the likeliest after those before it.
        precision: The relative rounding step of the model's weights.

    Returns:
        How many tokens are not the likeliest but within rounding of it, and where the first is that is not, in words.
    """
    behind = logits.max(axis=-1) - logits[mx.arange(len(tokens)), mx.array(list(tokens))]
    rounding = ROUNDING_STEPS * precision * mx.abs(logits).max(axis=-1)
    gaps, allowed = np.array(behind), np.array(rounding)
    wrong = np.flatnonzero(gaps > allowed)
    where = (
        f"token {wrong[0] + 1} on ({gaps[wrong[0]]:.2f} apart, rounding explains {allowed[wrong[0]]:.2f})"
        if len(wrong)
        else None
    )
    return int((gaps > 0).sum()), where


def check_same(model: Any, answers: Sequence[Answer]) -> str:
    """Say how alike the fused model's greedy answers are to these, or raise Stop if it answers otherwise."""
    kind = model.model.norm.weight.dtype
    swapped = 0
    for question, (prompt, tokens) in zip(PROMPTS, answers, strict=True):
        logits = model(mx.array([prompt + tokens]))[0, len(prompt) - 1 : -1].astype(mx.float32)
        ties, where = compare(logits, tokens, mx.finfo(kind).eps)
        if where:
            raise Stop(
                f'the fused model answers "{question}" otherwise from {where}; nothing was kept. '
                "With a 4-bit base, try --dequantize; otherwise report this line."
            )
        swapped += ties
    total = sum(len(answer.tokens) for answer in answers)
    ties_said = f"; {swapped} of their {total} tokens are ties that rounding decides" if swapped else ""
    return f"the fused model gives the same greedy answers as base and adapter to {len(answers)} prompts{ties_said}"


# -- The model card

CARD = Template("""\
$front_matter
# $name

**Built with Llama.** $base, fine-tuned with LoRA on patient-doctor conversations for MediAssist, an open medical chat
assistant that answers from cited sources.

## Intended use

To write answers inside MediAssist, which decides the urgency by rules before this model speaks, gives it passages to
answer from, and checks each of its sentences. It is not a doctor and not a medical device, and not meant to be used
alone: do not act on what it says about a person's health. In an emergency, call your local emergency number.

## Limits

- It can be wrong, out of date and overconfident. It has not been tested in clinical use.
- English only. Many of the conversations it learned from were written by a machine; no doctor has checked them.
- Doses, definite diagnoses and false reassurance were removed from its training data by patterns, which miss some.
- Checked when it was made: $check.

## Training

$losses
$parameters
## Data

ChatDoctor conversations. Their authors release them for research only, and so is this model.

$report
## Licence

Llama's community licence and its acceptable use policy apply to this model; see NOTICE.
""")


def model_card(name: str, run: tuple[dict[str, Any], dict[str, Any]], check: str) -> str:
    """The README.md of the model, for people who may use it."""
    config, summary = run
    report = data_report(ROOT / config["data"] / "report.md")
    rows = "".join(f"| {key} | {json.dumps(value)} |\n" for key, value in config.items() if key not in NOT_IN_CARD)
    return CARD.substitute(
        front_matter="".join(front_matter(config["model"], report)),
        name=name,
        base=Path(config["model"]).name,
        check=check,
        losses=losses(summary),
        parameters=f"| parameter | value |\n|---|---|\n{rows}",
        report=report or "No data report was found where the model was trained.\n",
    )


def losses(summary: dict[str, Any]) -> str:
    """The validation losses as a table, and the curve; "" for an adapter that step 2 has not judged."""
    if not summary.get("best"):
        return ""
    best, base, last = summary["best"], summary["base"], summary["last"]
    rows = [("before training", base["val_loss"]), (f"this model, iteration {best['iteration']}", best["val_loss"])]
    if "val_loss" in last:
        rows.append((f"end of training, iteration {last['iteration']}", last["val_loss"]))
    table = "".join(f"| {what} | {loss:.3f} |\n" for what, loss in rows)
    curve = "![Training and validation loss](loss_curve.png)\n"
    return f"| validation loss | nats per token |\n|---|---:|\n{table}\n{curve}"


def front_matter(base: str, report: str) -> Iterator[str]:
    """The card's head, which the Hub reads."""
    version = llama_version(base)
    yield "---\nlanguage: en\nlibrary_name: mlx\npipeline_tag: text-generation\ntags: [mlx, lora, medical, llama]\n"
    yield f"license: llama{version}\n" if version else "license: other\nlicense_name: llama-community-licence\n"
    if re.fullmatch(r"[\w.-]+/[\w.-]+", base):  # a name on the Hub, not a folder
        yield f"base_model: {base}\nbase_model_relation: finetune\n"
    if "avaliev/chat_doctor" in report:
        yield "datasets: [avaliev/chat_doctor]\n"
    yield "---\n\n"


def llama_version(base: str) -> str | None:
    """The version in a Llama's name ("3.2"), or None."""
    found = re.search(r"llama-?(\d(?:\.\d)?)", Path(base).name, re.I)
    return found[1] if found else None


def data_report(path: Path) -> str:
    """Step 1's report, one heading deeper, without its examples (other people's words); "" if there is none."""
    if not path.exists():
        return ""
    text = path.read_text(encoding="utf-8").split("\n## Examples")[0]
    return re.sub(r"^#", "##", text, flags=re.M).rstrip() + "\n"


def notice(base: str) -> str:
    """The attribution that Llama's licence asks to be kept with every copy."""
    version = llama_version(base) or ""
    return (
        f"Llama {version} is licensed under the Llama {version} Community License, Copyright © Meta Platforms, Inc. "
        "All Rights Reserved.\n"
        "The licence and the acceptable use policy: https://www.llama.com/llama-downloads/\n"
    ).replace("Llama  ", "Llama ")


# -- Publishing


def check_name(name: str) -> None:
    """Raise Stop unless the name of a repository is one that Llama's licence allows."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise Stop(f"--push {name} is not of the form OWNER/NAME")
    owner, model = name.split("/")
    if not model.startswith("Llama"):
        raise Stop(
            f'--push {name}: Llama\'s licence asks that the name of a model made from it begin with "Llama"; '
            f"for example --push {owner}/Llama-3.2-3B-MediAssist"
        )


def token_for(name: str) -> str:
    """The Hub token of the settings."""
    token = get_settings().hf_token
    if token is None:
        raise Stop(f"a push to {name} needs a token: put HF_TOKEN=... (with write access) into .env")
    return token.get_secret_value()


def confirm_public(name: str) -> None:
    """Ask before the whole world can read it."""
    try:
        typed = input(f"--public shows {name} to everyone. Type {name} to go on: ")
    except EOFError:
        typed = ""
    if typed.strip() != name:
        raise Stop("not confirmed; nothing was pushed. Leave out --public for a private repository.")


def push(folder: Path, name: str, token: str, public: bool) -> str:
    """Upload the folder to a repository, made if needed; returns its address."""
    api = HfApi(token=token)
    try:
        address = api.create_repo(name, private=not public, exist_ok=True)
        if not public and not api.model_info(name).private:
            raise Stop(f"{name} is there already and public. Push to another name, or say --public.")
        api.upload_folder(repo_id=name, folder_path=folder, commit_message="Fused model from MediAssist")
    except HfHubHTTPError as error:
        status = error.response.status_code
        reasons = {
            401: "the Hub does not accept HF_TOKEN; make a new one at https://huggingface.co/settings/tokens",
            403: "HF_TOKEN may not write there; use a token with write access, and your own name or organisation",
        }
        reason = reasons.get(status, f"the Hub answered {status}; run the same command again later")
        raise Stop(f"could not push to {name}: {reason}") from error
    except (httpx.HTTPError, OSError) as error:
        reason = f"the Hub cannot be reached ({error}); run the same command again later"
        raise Stop(f"could not push to {name}: {reason}") from error
    return str(address)


def list_files(folder: Path) -> Iterator[str]:
    """Each file of the fused model with its size."""
    for path in sorted(folder.iterdir()):
        yield f"{path.stat().st_size / 1e6:12,.3f} MB  {path.name}"


def next_steps(folder: Path, name: str | None) -> Iterator[str]:
    """How to serve the model to the chat."""
    yield "Serve it from this machine:"
    yield f"  python -m mlx_lm server --model {shlex.quote(str(folder))} --port {PORT}"
    yield "with these lines in .env:"
    yield f"  LLM_BASE_URL=http://127.0.0.1:{PORT}/v1"
    yield "  LLM_MODEL=default_model"
    if name:
        yield "or from an endpoint that you start for it on the Hub, with this line:"
        yield f"  HF_MODEL_REPO={name}"


# -- The step


def fuse_and_check(args: argparse.Namespace) -> str:
    """Fuse into args.out, which is replaced only after the fused model has passed the check; returns the finding."""
    run = read_run(args.adapter)
    base = run[0]["model"]
    check_out(args.out, base)
    model, tokenizer, config = load_model(base, args.adapter)
    answers = answer_greedily(model, tokenizer)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=args.out.parent, prefix=f".{args.out.name}-") as staging:
        staged = Path(staging) / args.out.name
        model = fuse(model, config, args.dequantize)
        save(staged, base, model, tokenizer, config)
        del model  # room for the fused one: two of 3 billion weights do not fit into 16 GB
        mx.clear_cache()
        check = check_same(load_model(str(staged))[0], answers)
        if run[1]:
            shutil.copy(args.adapter / "loss_curve.png", staged)
        name = args.push.split("/")[1] if args.push else "Llama-MediAssist"
        (staged / "README.md").write_text(model_card(name, run, check), encoding="utf-8")
        (staged / "NOTICE").write_text(notice(base), encoding="utf-8")
        if args.out.exists():
            shutil.rmtree(args.out)
        staged.rename(args.out)
    return check


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Step 3: fuse the adapter into the base model, check and publish it.")
    adapter, out = ROOT / "2_finetune" / "adapters", ROOT / "2_finetune" / "fused"
    parser.add_argument(
        "--adapter", type=Path, default=adapter, help="adapter of step 2 (default: 2_finetune/adapters)"
    )
    parser.add_argument("--out", type=Path, default=out, help="folder for the fused model (default: 2_finetune/fused)")
    parser.add_argument("--dequantize", action="store_true", help="for a 4-bit base: keep the fused weights in 16 bits")
    parser.add_argument("--push", metavar="OWNER/NAME", help="upload to this private repository on the Hub")
    parser.add_argument("--public", action="store_true", help="with --push: show it to everyone (asks first)")
    parser.add_argument("--dry-run", action="store_true", help="with --push: list files and sizes instead of uploading")
    args = parser.parse_args(arguments)
    args.out = args.out.absolute()
    if (args.public or args.dry_run) and not args.push:
        parser.error("--public and --dry-run go with --push OWNER/NAME")
    return args


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the step; returns the exit code."""
    args = parse(arguments)
    get_settings()  # loads .env, which may hold the token for the Hub
    uploads = args.push and not args.dry_run
    try:
        if args.push:
            check_name(args.push)
        token = token_for(args.push) if uploads else ""
        if uploads and args.public:
            confirm_public(args.push)
        print(f"Checked: {fuse_and_check(args)}.")
        print(f"The fused model is in {args.out}.")
        if args.dry_run:
            print(f"A push to {args.push} would upload:", *list_files(args.out), sep="\n")
        elif uploads:
            print(f"Pushed to {push(args.out, args.push, token, args.public)}")
    except Stop as error:
        print(f"fuse_and_push: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("fuse_and_push: stopped; an earlier fused model is as it was.", file=sys.stderr)
        return 130
    print(*next_steps(args.out, args.push if uploads else None), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

import json
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import mlx.core as mx
import pytest
import yaml
from finetune.conftest import ANSWER, QUESTIONS, SYSTEM, Run
from huggingface_hub import HfApi, InferenceClient
from mlx_lm import convert
from mlx_lm.tuner.utils import remove_lora_layers
from pydantic import SecretStr
from served_llama import serve

import fuse_and_push
from fuse_and_push import compare
from settings import Settings

TOKEN = "hf_thisIsASecretThatMustNotBeSeen"


def use_token(monkeypatch: pytest.MonkeyPatch, token: str | None) -> None:
    monkeypatch.setattr(fuse_and_push, "get_settings", lambda: Settings(hf_token=SecretStr(token) if token else None))


# -- Fusing


def test_the_fused_model_answers_over_http_what_it_was_taught(fused: Path) -> None:
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTIONS[0]}]
    with serve(fused) as url:
        client = InferenceClient(base_url=url, timeout=60)
        reply = client.chat_completion(messages, model="default_model", max_tokens=40, temperature=0.0)
    assert reply.choices[0].message.content == ANSWER
    assert reply.choices[0].finish_reason == "stop"


def test_the_adapter_is_served_without_fusing_as_well(run: Run) -> None:
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTIONS[-1]}]
    with serve(run.model, run.adapter) as url:
        client = InferenceClient(base_url=url, timeout=60)
        reply = client.chat_completion(messages, model="default_model", max_tokens=40, temperature=0.0)
    assert reply.choices[0].message.content == ANSWER


def test_a_fused_model_that_answers_otherwise_is_thrown_away(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fuse_and_push, "fuse", lambda model, config, dequantize: remove_lora_layers(model))
    out = tmp_path / "fused"
    assert fuse_and_push.main(["--adapter", str(run.adapter), "--out", str(out)]) == 2
    assert "nothing was kept" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_4_bit_base_is_fused_into_full_weights(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = tmp_path / "base-4bit"
    convert(str(run.model), mlx_path=str(base), quantize=True, q_bits=4, q_group_size=32)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    config = json.loads((run.adapter / "adapter_config.json").read_text()) | {"model": str(base)}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    (adapter / "adapters.safetensors").write_bytes((run.adapter / "adapters.safetensors").read_bytes())
    out = tmp_path / "fused"
    assert fuse_and_push.main(["--adapter", str(adapter), "--out", str(out), "--dequantize"]) == 0, capsys.readouterr()
    assert "quantization" not in json.loads((out / "config.json").read_text())


def test_a_token_may_fall_behind_only_by_rounding() -> None:
    logits = mx.array([[10.0, 8.0, 0.0], [1.0, 9.9, 10.0]])  # the likeliest tokens: 0, then 2, with 1 close behind
    assert compare(logits, [0, 2], precision=1e-7) == (0, None)
    assert compare(logits, [0, 1], precision=2**-8) == (1, None)
    _, where = compare(logits, [0, 1], precision=1e-7)
    assert where is not None
    assert where.startswith("token 2 on (0.10 apart")
    assert compare(logits, [1, 2], precision=2**-8)[1] is not None


def test_a_folder_with_something_else_in_it_is_not_replaced(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.docx").touch()
    for out in (tmp_path, run.model, run.adapter):
        assert fuse_and_push.main(["--adapter", str(run.adapter), "--out", str(out)]) == 2
        assert "Give another --out" in capsys.readouterr().err
    assert (tmp_path / "thesis.docx").exists()
    assert (run.model / "model.safetensors").exists()


def test_a_missing_adapter_says_how_to_make_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fuse_and_push.main(["--adapter", str(tmp_path)]) == 2
    assert "python 2_finetune/train.py" in capsys.readouterr().err


# -- The model card


def test_model_card(run: Run, fused: Path) -> None:
    card = (fused / "README.md").read_text()
    _, head, body = card.split("---\n", 2)
    assert yaml.safe_load(head)["pipeline_tag"] == "text-generation"
    best = json.loads((run.adapter / "summary.json").read_text())["best"]
    assert f"this model, iteration {best['iteration']} | {best['val_loss']:.3f} |" in body
    for words in (
        "Built with Llama",
        "Intended use",
        "Limits",
        "same greedy answers",
        "learning_rate | 0.003",
        "NOTICE",
    ):
        assert words in body
    assert (fused / "loss_curve.png").exists()
    assert "Community License" in (fused / "NOTICE").read_text()
    assert str(run.model.parent) not in card  # no folder of the author's


def test_model_card_names_base_licence_and_data(tmp_path: Path) -> None:
    (tmp_path / "report.md").write_text(
        "# Report\n\nSource: avaliev/chat_doctor\n\n## Examples of dropped rows\n\n- words\n"
    )
    config = {"model": "mlx-community/Llama-3.2-3B-Instruct", "data": str(tmp_path)}
    card = fuse_and_push.model_card("Llama-x", (config, {}), "checked")
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["license"] == "llama3.2"
    assert head["base_model"] == config["model"]
    assert head["datasets"] == ["avaliev/chat_doctor"]
    assert "## Report" in card
    assert "words" not in card.split("## Report")[1].split("## Licence")[0]  # other people's words stay here


# -- Publishing


@pytest.mark.parametrize(("name", "words"), [("me/MediAssist", 'begin with "Llama"'), ("Llama-x", "OWNER/NAME")])
def test_names_that_the_licence_does_not_allow(name: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert fuse_and_push.main(["--push", name]) == 2
    assert words in capsys.readouterr().err


def test_a_missing_token_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    use_token(monkeypatch, None)
    assert fuse_and_push.main(["--push", "me/Llama-x"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "HF_TOKEN=" in error


def test_dry_run_lists_files_and_needs_no_token(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_token(monkeypatch, None)
    out = tmp_path / "fused model"
    arguments = ["--adapter", str(run.adapter), "--out", str(out), "--push", "me/Llama-x", "--dry-run"]
    assert fuse_and_push.main(arguments) == 0
    printed = capsys.readouterr().out
    for path in out.iterdir():
        assert path.name in printed
    assert "# Llama-x\n" in (out / "README.md").read_text()
    assert f"python -m mlx_lm server --model '{out}' --port 8080" in printed
    assert "LLM_BASE_URL=http://127.0.0.1:8080/v1\n" in printed
    assert "LLM_MODEL=default_model\n" in printed
    assert "HF_MODEL_REPO" not in printed  # nothing is there yet


def test_public_asks_first(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    use_token(monkeypatch, TOKEN)
    monkeypatch.setattr("builtins.input", lambda question: "yes")
    assert fuse_and_push.main(["--push", "me/Llama-x", "--public"]) == 2
    assert "nothing was pushed" in capsys.readouterr().err


@pytest.fixture
def refusing_hub(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server that answers every request with the status given as the fixture's parameter."""

    class Refuse(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(request.param)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with HTTPServer(("127.0.0.1", 0), Refuse) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("refusing_hub", "words"), [(401, "does not accept HF_TOKEN"), (403, "may not write")], indirect=["refusing_hub"]
)
def test_a_refused_push_is_one_line_without_the_token(
    refusing_hub: str, words: str, fused: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuse_and_push, "HfApi", partial(HfApi, endpoint=refusing_hub))
    with pytest.raises(fuse_and_push.Stop) as stopped:
        fuse_and_push.push(fused, "me/Llama-x", TOKEN, public=False)
    assert words in str(stopped.value)
    assert "\n" not in str(stopped.value)
    assert TOKEN not in str(stopped.value)
